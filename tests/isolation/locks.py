"""Takes a lock out of the product, for a run of the suite that must notice or must not.

A pytest plugin of the proof (`-p isolation.locks --without=filter|rls|both`); the product has no
such switch. `filter` is the tenant predicate of the statements, `rls` is row-level security.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import ColumnElement, Table, true

_FILTER = re.compile(r"tenant_id = \$")
# Of figures about tenants, in texts. The parameter stays in use.
_FILTER_OF_FIGURES = re.compile(r"\btenant = (\$\d)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without", choices=("filter", "rls", "both"), required=True)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before the first conftest: it imports the app, and that compiles statements at once."""
    if early_config.known_args_namespace.without in {"filter", "both"}:
        _take_out_filter()


@pytest.fixture(scope="session", autouse=True)
def _open_locks(request: pytest.FixtureRequest, postgres: Any, settings: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.config.option.without in {"rls", "both"}:
            with psycopg.connect(postgres.dsn(postgres.superuser)) as administrator:
                _take_out_policies(administrator)
            _silence_boot_check(settings, patch)
        yield


def _take_out_filter() -> None:
    if "saas.tenancy.resolver" in sys.modules:
        raise pytest.UsageError("too late: statements with the filter are compiled already")
    from saas.db import statements  # noqa: PLC0415 - not before pytest has been told

    def everything(_: Table) -> ColumnElement[bool]:
        return true()

    compile_statement = statements.Statement.__init__

    def compile_unfiltered(self: statements.Statement, statement: Any) -> None:
        compile_statement(self, statement)
        # A filter that is written by hand would stay in, and the run would prove less.
        if _FILTER.search(self.sql):
            raise AssertionError(f"filtered without tenant_predicate: {self.sql}")

    statements.tenant_predicate = everything
    statements.Statement.__init__ = compile_unfiltered  # type: ignore[method-assign]

    from saas.db.transaction import Transaction  # noqa: PLC0415 - now that statements are open

    fetch = Transaction.fetch

    async def fetch_unfiltered(self: Transaction, text: str, arguments: Any = ()) -> Any:
        return await fetch(self, _FILTER_OF_FIGURES.sub(r"\1::uuid IS NOT NULL", text), arguments)

    Transaction.fetch = fetch_unfiltered  # type: ignore[method-assign]


def _take_out_policies(administrator: psycopg.Connection[Any]) -> None:
    for name, table in administrator.execute("SELECT polname, polrelid::regclass FROM pg_policy"):
        administrator.execute(
            sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(name), sql.SQL(table))
        )
    for (table,) in administrator.execute(
        "SELECT oid::regclass FROM pg_class WHERE relrowsecurity OR relforcerowsecurity"
    ):
        administrator.execute(
            sql.SQL(
                "ALTER TABLE {} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
            ).format(sql.SQL(table))
        )


def _silence_boot_check(settings: Any, patch: pytest.MonkeyPatch) -> None:
    from saas import app  # noqa: PLC0415 - see above
    from saas.db.doctor import check_installation  # noqa: PLC0415
    from saas.db.doctor_findings import Findings  # noqa: PLC0415

    found = check_installation(settings.database_url, settings.platform_database_url)
    if not found.errors:
        raise AssertionError("the boot check would serve a database without policies")
    patch.setattr(app, "check_installation", lambda *_, **__: Findings())
