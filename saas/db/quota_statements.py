"""The SQL behind `quotas.py`: a counter for each tenant and table, and the rows that it counts."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Table,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
    table,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from saas.db.models import Base
from saas.db.statements import tenant_predicate

# While limits change, some nodes still have the old ones: five seconds, and a request's length.
_SETTLING = text("interval '10 seconds'")
# What has come past the counter (jobs without limits, plain SQL) is found out in this time.
_TRUSTED = text("interval '1 hour'")
_NEVER = text("'-infinity'::timestamptz")
_ENTITY = bindparam("entity", type_=Text())
_WANTED = bindparam("wanted", type_=BigInteger())
_LIMIT = bindparam("quota", type_=BigInteger())
# Tables of the layers above: limits and sizes come from them.
_tenants = table("tenants", column("id"), column("plan"), column("updated_at"))
_plans = table("plans", column("slug"), column("updated_at"))
_totals = table("usage_totals", column("tenant", Uuid()), column("bytes", BigInteger()))
_changes = table("usage_changes", column("tenant", Uuid()), column("bytes", BigInteger()))


def take() -> Executable:
    """Raise the counter where it is good and not full; no row comes back otherwise."""
    quotas = _quotas()
    changed_at = func.greatest(_tenants.c.updated_at, _plans.c.updated_at)
    return (
        update(quotas)
        .where(
            *_own(quotas),
            _tenants.c.id == quotas.c.tenant_id,
            _plans.c.slug == _tenants.c.plan,
            quotas.c.used + _WANTED <= _LIMIT,
            quotas.c.counted_at > changed_at + _SETTLING,
            quotas.c.counted_at > func.now() - _TRUSTED,
        )
        .values(used=quotas.c.used + _WANTED)
        .returning(quotas.c.used)
    )


def hold() -> Executable:
    """Lock the counter, and make it first where there is none; it is not good by that."""
    quotas = _quotas()
    row = {"tenant_id": bindparam("tenant_id", type_=Uuid()), "entity": _ENTITY}
    made = insert(quotas).values(**row, used=0, counted_at=_NEVER)
    # Changes nothing but takes the lock.
    return made.on_conflict_do_update(
        index_elements=[quotas.c.tenant_id, quotas.c.entity],
        set_={"entity": made.excluded.entity},
        where=tenant_predicate(quotas),
    )


def count(rows: Table) -> Executable:
    """Set the counter to the live rows, and to those wanted beside them where all of these fit. A
    statement of its own behind `hold`: only a snapshot that is taken under the lock shows what
    those before have committed."""
    quotas = _quotas()
    counted = (
        select(func.count().label("rows"))
        .select_from(rows)
        .where(tenant_predicate(rows), *_live(rows))
        .subquery("counted")
    )
    fits = counted.c.rows + _WANTED <= _LIMIT
    return (
        update(quotas)
        .where(*_own(quotas))
        .values(
            used=counted.c.rows + case((fits, _WANTED), else_=cast(0, BigInteger)),
            counted_at=func.now(),
        )
        .returning(counted.c.rows)
    )


def count_bytes() -> Executable:
    """What is counted of the tenant's bytes, also what is not folded yet and what the current
    transaction has done."""
    counted = union_all(
        *(
            select(one.c.bytes).where(one.c.tenant == bindparam("tenant_id", type_=Uuid()))
            for one in (_totals, _changes)
        )
    ).subquery("counted")
    return select(cast(func.coalesce(func.sum(counted.c.bytes), 0), BigInteger).label("bytes"))


def charge() -> Executable:
    quotas = _quotas()
    return update(quotas).where(*_own(quotas)).values(used=quotas.c.used + _WANTED)


def lock_row(rows: Table) -> Executable:
    """Lock a row, deleted or not, until the end of the transaction."""
    found = select(rows.c.id).where(tenant_predicate(rows), rows.c.id == bindparam("id"))
    return found.with_for_update()


def select_taken(rows: Table, key: Sequence[str]) -> Executable:
    """The live row with the natural key of the given values, if there is one."""
    same = (rows.c[name] == bindparam(f"v_{name}", type_=rows.c[name].type) for name in key)
    return select(rows.c.id).where(tenant_predicate(rows), *same, *_live(rows))


def _live(rows: Table) -> tuple[ColumnElement[bool], ...]:
    return (rows.c.deleted_at.is_(None),) if "deleted_at" in rows.c else ()


@lru_cache(maxsize=1)
def _quotas() -> Table:
    # When it is needed: the model is in the layer above.
    return Base.metadata.tables["row_quotas"]


def _own(quotas: Table) -> tuple[ColumnElement[bool], ...]:
    return tenant_predicate(quotas), quotas.c.entity == _ENTITY
