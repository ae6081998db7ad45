"""Tables of a test's own, guarded as a migration would guard them, and callers who act on them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from saas.context import Principal, acting_as
from saas.db import rls
from saas.db.database import Database as Pools
from saas.db.models import TenantModel, table_of
from saas.db.roles import APP, MIGRATOR, OWNER, PLATFORM
from saas.schema import metadata


def own_table(model: type[TenantModel]) -> Table:
    """The table of `model`, taken out of the product's metadata, which other tests read."""
    table = table_of(model)
    metadata.remove(table)
    return table


def create_guarded(database, table: Table) -> None:
    """Make `table` in a migrated database, with both locks and the audit trigger."""
    security = rls.required_security(table)
    assert security is not None
    dialect = postgresql.dialect()
    statements = [
        str(CreateTable(table).compile(dialect=dialect)),
        *(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes),
        rls.set_row_security(table.name, enabled=True, forced=True),
        *(rls.create_policy(table.name, policy) for policy in security.policies),
        *(rls.create_grant(table.name, grant) for grant in security.grants),
        *(rls.create_trigger(table.name, trigger) for trigger in security.triggers),
    ]
    as_owner(database, *statements)


@asynccontextmanager
async def guarded_pools(database, table: Table) -> AsyncIterator[Pools]:
    """Both pools on the database, with the table while the block runs."""
    create_guarded(database, table)
    async with Pools(database.url(APP), database.url(PLATFORM), size=2) as pools:
        yield pools
    as_owner(database, f"DROP TABLE {table.name}")


def as_owner(database, *statements: str) -> None:
    with database.connect(MIGRATOR) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        for statement in statements:
            connection.execute(statement)


@contextmanager
def acting(tenant: UUID, actor: str = "system:test") -> Iterator[None]:
    with acting_as(Principal(tenant_id=tenant, actor=actor)):
        yield
