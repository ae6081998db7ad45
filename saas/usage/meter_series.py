"""What the product's own meters have counted over time: what is folded and what is not yet, in one
statement and so in one snapshot."""

from collections.abc import Sequence
from uuid import UUID

from saas import context
from saas.db.transaction import current_transaction
from saas.usage.buckets import Span
from saas.usage.series import BUCKET, Figures, figures_of, read

_MOST_NAMES = 50


async def meter_quantity(meter: str, span: Span, *, by_actor: bool = False) -> Figures:
    """By kind of actor or in all."""
    sql = f"""
    SELECT {BUCKET.format(at="at")} AS place, {"kind" if by_actor else "NULL::text"} AS "group",
      sum(quantity) AS value
    FROM (SELECT at, kind, quantity FROM usage_meters WHERE {_OF_SPAN}
          UNION ALL
          SELECT at, kind, quantity FROM usage_meter_changes WHERE {_OF_SPAN}) AS counted
    GROUP BY 1, 2"""
    return figures_of(await read(sql, span, meter), span, is_grouped=by_actor)


async def meter_names() -> Sequence[str]:
    """The meters of the bound tenant that have counted anything, the first fifty by name."""
    rows = await current_transaction().fetch(_NAMES, [_tenant_id(), _MOST_NAMES])
    return [row["meter"] for row in rows]


async def has_meter(meter: str) -> bool:
    """Whether it has counted anything of the bound tenant."""
    rows = await current_transaction().fetch(_HAS, [_tenant_id(), meter])
    return bool(rows[0]["found"])


def _tenant_id() -> UUID:
    return context.principal().tenant_id


_OF_SPAN = "tenant = $4 AND at >= $2 AND at < $3 AND meter = $5"
_NAMES = """
SELECT meter FROM usage_meters WHERE tenant = $1
UNION
SELECT meter FROM usage_meter_changes WHERE tenant = $1
ORDER BY meter LIMIT $2"""
_HAS = """
SELECT EXISTS (SELECT FROM usage_meters WHERE tenant = $1 AND meter = $2)
  OR EXISTS (SELECT FROM usage_meter_changes WHERE tenant = $1 AND meter = $2) AS found"""
