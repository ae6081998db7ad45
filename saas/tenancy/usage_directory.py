"""The platform's list of tenants with what each of them uses, to be filtered and sorted by it."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    Select,
    Table,
    bindparam,
    func,
    select,
    text,
)

from saas.db.filters import filter_shape_of, matching, paged, parameters, shape_of
from saas.db.keyset import window_of, with_sort_columns
from saas.db.models import table_of
from saas.db.partial import shape_for
from saas.db.query import ListQuery, QueryGrammar
from saas.db.row_operations import Page
from saas.db.statements import ShapeCache
from saas.db.transaction import current_transaction
from saas.tenancy.directory import TenantRead
from saas.tenancy.models import Tenant
from saas.usage.all_statements import OF_ALL, OF_EACH, USAGE_COLUMNS


class TenantUsage(TenantRead, frozen=True):
    """Requests and errors of this month in UTC, live rows but members, keys and invitations, and by
    how much they grew in thirty days. `last_activity_at` is the last change."""

    requests_month: int
    errors_month: int
    rows: int
    storage_bytes: int
    growth_30d: int
    last_activity_at: datetime | None


def _listed() -> Table:
    """What the SQL below gives, as the filters and pages know tables."""
    own = [Column(c.name, c.type, nullable=c.nullable) for c in table_of(Tenant).columns]
    counts = [Column(name, BigInteger, nullable=False) for name in USAGE_COLUMNS[:-1]]
    last = Column(USAGE_COLUMNS[-1], DateTime(timezone=True), nullable=True)
    return Table("tenants_and_usage", MetaData(), *own, *counts, last)


_table = _listed()
_SEARCH = ("slug", "name")
_pages = ShapeCache()
# A day is asked about as a whole: whoever came on it is not dormant since.
_DORMANT = text(
    """NOT EXISTS (
  SELECT FROM usage_days AS d WHERE d.tenant = tenants_and_usage.id AND d.requests > 0
    AND d.day >= (now() AT TIME ZONE 'UTC')::date - :dormant_days)
AND NOT EXISTS (
  SELECT FROM usage_totals AS u WHERE u.tenant = tenants_and_usage.id
    AND u.changed_at >= now() - make_interval(days => :dormant_days))
AND NOT EXISTS (
  SELECT FROM usage_changes AS c WHERE c.tenant = tenants_and_usage.id
    AND c.at >= now() - make_interval(days => :dormant_days))"""
).bindparams(bindparam("dormant_days", type_=Integer()))

usage_grammar = QueryGrammar(
    _table,
    search=_SEARCH,
    hidden=("tokens_valid_from",),
    fields=TenantUsage.__struct_fields__,
)
"""What the list takes: the language of a resource's list, with the figures as further columns."""


async def tenants_and_usage(
    query: ListQuery, *, dormant_days: int | None = None
) -> Page[TenantUsage]:
    """One page, in the current transaction of the platform; with `dormant_days` of those alone who
    have neither asked nor changed anything for so many days."""
    kind = shape_for(TenantUsage, query.fields)
    columns = with_sort_columns(kind.columns, query)
    is_dormant = dormant_days is not None
    statement = _pages.get(
        ("page", shape_of(query), is_dormant),
        lambda: paged(_chosen(query, columns, is_dormant), _table, query, _SEARCH),
    )
    values = parameters(query) | {"dormant_days": dormant_days}
    found = await current_transaction().run(statement, values)
    rows, next_after, prev_before = window_of(found, query, columns)
    items = [kind.make(*row[: len(kind.columns)]) for row in rows]
    total = None
    if query.include_total or query.offset is not None:
        statement = _pages.get(
            ("count", filter_shape_of(query), is_dormant),
            lambda: matching(_chosen(query, (), is_dormant), _table, query, _SEARCH),
        )
        total = (await current_transaction().run(statement, values))[0]["total"]
    return Page(items=items, next_after=next_after, prev_before=prev_before, total=total)


def _chosen(query: ListQuery, columns: tuple[str, ...], is_dormant: bool) -> Select[Any]:
    """These columns; how many rows there are, without any."""
    shown = ["limit_overrides" if name == "limits" else name for name in columns]
    counted: list[Any] = [_table.c[name] for name in shown] or [func.count().label("total")]
    source = text(OF_ALL if _depends_on_usage(query) else OF_EACH).columns(*_table.columns)
    chosen = select(*counted).select_from(_table).add_cte(source.cte(_table.name))
    return chosen.where(_DORMANT) if is_dormant else chosen


def _depends_on_usage(query: ListQuery) -> bool:
    conditions = (*query.conditions, *query.any_of)
    named = {key.column for key in query.sort} | {condition.column for condition in conditions}
    return not named.isdisjoint(USAGE_COLUMNS)
