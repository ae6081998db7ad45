"""Changes of rows over time, and who has made most of them: what is folded and what is not yet, in
one statement and so in one snapshot."""

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from saas.usage.buckets import Span
from saas.usage.folding import ACTOR
from saas.usage.series import BUCKET, Figures, Value, figures_of, read

Action = Literal["created", "updated", "deleted"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_MOST_ACTORS = 10


class TopActor(msgspec.Struct, frozen=True):
    actor: str
    created: int
    updated: int
    deleted: int


class ActivityFigures(msgspec.Struct, frozen=True):
    """A value for each bucket by resource and action, and those who have changed most, most
    first."""

    series: dict[tuple[str, Action], list[Value]]
    top_actors: list[TopActor]


async def rows_written(span: Span, resources: Sequence[str], *, by_actor: bool = False) -> Figures:
    """Rows created, updated and deleted in the tables of `resources`, by kind of actor or in
    all."""
    group = "split_part(actor, ':', 1)" if by_actor else "NULL::text"
    sql = f"""
    SELECT {BUCKET.format(at="at")} AS place, {group} AS "group",
      sum(created + updated + deleted) AS value
    FROM ({_CHANGED}) AS changed GROUP BY 1, 2
    HAVING sum(created + updated + deleted) > 0"""
    rows = await read(sql, span, list(resources))
    return figures_of(rows, span, is_grouped=by_actor)


async def activity(span: Span, resources: Sequence[str]) -> ActivityFigures:
    """Of each of `resources` every action, also what was never done."""
    series: dict[tuple[str, Action], list[Value]] = {
        (resource, action): [0] * len(span) for resource in resources for action in ACTIONS
    }
    top: list[TopActor] = []
    for row in await read(_ACTIVITY, span, list(resources), _MOST_ACTORS):
        done = {action: int(row[action]) for action in ACTIONS}
        if row["actor"] is not None:
            top.append(TopActor(row["actor"], **done))
            continue
        for action in ACTIONS:
            series[row["entity"], action][row["place"] - 1] = done[action]
    top.sort(key=lambda one: (-(one.created + one.updated + one.deleted), one.actor))
    return ActivityFigures(series, top)


_DONE = "created, updated, deleted"
_OF_SPAN = "tenant = $4 AND at >= $2 AND at < $3 AND entity = ANY ($5::text[])"
_CHANGED = f"""
  SELECT at, entity, actor, {_DONE} FROM usage_activity WHERE {_OF_SPAN}
  UNION ALL
  SELECT at, entity, {ACTOR}, {_DONE} FROM usage_changes WHERE {_OF_SPAN}"""
_ACTIVITY = f"""
WITH done AS (
  SELECT {BUCKET.format(at="at")} AS place, entity, actor,
    sum(created) AS created, sum(updated) AS updated, sum(deleted) AS deleted
  FROM ({_CHANGED}) AS changed GROUP BY 1, 2, 3
  HAVING sum(created + updated + deleted) > 0
)
(SELECT place, entity, NULL::text AS actor,
   sum(created) AS created, sum(updated) AS updated, sum(deleted) AS deleted
 FROM done GROUP BY place, entity)
UNION ALL
(SELECT NULL, NULL, actor, sum(created), sum(updated), sum(deleted)
 FROM done GROUP BY actor
 ORDER BY sum(created + updated + deleted) DESC, actor LIMIT $6)"""
