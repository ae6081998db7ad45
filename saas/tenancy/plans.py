"""The plans: find, create, change. Runs as the platform role, unbound."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Executable, bindparam, func, insert, select, update

from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import AlreadyExists, FieldError, NotFound
from saas.limits import LimitOverrides, Limits, limits_of, stored
from saas.tenancy.fields import Name
from saas.tenancy.models import Plan

# The look-ahead, as for a tenant's slug: Python's $ also matches before a last newline.
Slug = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9-]{0,39}$(?!\n)",
        description="Small letters, digits and hyphens, at most 40, a letter first.",
    ),
]

_plans = table_of(Plan)


class PlanRead(msgspec.Struct, frozen=True):
    slug: str
    name: str
    limits: Limits


class NewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slug is 1 to 40 of `a-z 0-9 -`, starting with a letter. A limit that is absent is none."""

    slug: Slug
    name: Name
    limits: Limits = Limits()


class PlanChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An absent field or limit stays as it is; a limit of null is lifted."""

    name: Name | UnsetType = UNSET
    limits: LimitOverrides = LimitOverrides()


async def plans() -> list[PlanRead]:
    """All of them, by slug."""
    return await _run(_ALL, {})


async def plan_by_slug(slug: str) -> PlanRead:
    """Raises NotFound."""
    return _only(await _run(_BY_SLUG, {"slug": slug}))


async def create_plan(plan: NewPlan) -> PlanRead:
    """Raises AlreadyExists for a slug that is taken."""
    values = {"slug": plan.slug, "name": plan.name, "limits": msgspec.to_builtins(plan.limits)}
    try:
        return _only(await _run(_INSERT, values))
    except AlreadyExists:
        taken = FieldError("/slug", "taken", "Taken.")
        raise AlreadyExists("A plan with this slug exists already.", errors=[taken]) from None


async def change_plan(slug: str, change: PlanChange) -> PlanRead:
    """Two changes at once of different limits both last. Raises NotFound."""
    name = None if change.name is UNSET else change.name
    return _only(await _run(_UPDATE, {"slug": slug, "name": name, "limits": stored(change.limits)}))


async def _run(statement: Statement, values: dict[str, Any]) -> list[PlanRead]:
    rows = await current_transaction().run(statement, values)
    return [PlanRead(row["slug"], row["name"], limits_of(row["limits"], None)) for row in rows]


def _only(rows: list[PlanRead]) -> PlanRead:
    if not rows:
        raise NotFound
    return rows[0]


def _insert() -> Executable:
    columns = {name: bindparam(name, type_=_plans.c[name].type) for name in _SHOWN}
    return insert(_plans).values(columns).returning(*_COLUMNS)


def _update() -> Executable:
    name = bindparam("name", type_=_plans.c.name.type)
    changes = bindparam("limits", type_=_plans.c.limits.type)
    return (
        update(_plans)
        .where(_plans.c.slug == bindparam("slug"))
        .values(
            name=func.coalesce(name, _plans.c.name),
            limits=_plans.c.limits.op("||")(changes),
            updated_at=func.now(),
        )
        .returning(*_COLUMNS)
    )


_SHOWN = PlanRead.__struct_fields__
_COLUMNS = [_plans.c[name] for name in _SHOWN]
_ALL = Statement(select(*_COLUMNS).order_by(_plans.c.slug))
_BY_SLUG = Statement(select(*_COLUMNS).where(_plans.c.slug == bindparam("slug")))
_INSERT, _UPDATE = Statement(_insert()), Statement(_update())
