"""What the readers of series share: the bound tenant's figures, by group and bucket."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saas import context
from saas.db.transaction import current_transaction
from saas.usage.buckets import Span

Value = int | float
Figures = dict[str | None, list[Value]]
"""A value for each bucket, by group. Without groups there is one, None."""

BUCKET = "width_bucket({at}, $1::timestamptz[])"
"""SQL for the number of the bucket that `at` is in, from 1 on."""


async def read(sql: str, span: Span, *arguments: Any) -> Sequence[Any]:
    """Run a statement in the current transaction: $1 are the edges, $2 and $3 the first and the
    last of them, $4 is the bound tenant, and `arguments` follow. Raises Unbound without one."""
    tenant_id = context.principal().tenant_id
    values = [span.edges, span.begin, span.end, tenant_id, *arguments]
    return await current_transaction().fetch(sql, values)


def figures_of(rows: Iterable[Any], span: Span, *, is_grouped: bool) -> Figures:
    """Rows of `place`, `group` and `value`, as figures; a bucket without a row has 0."""
    found: dict[str | None, dict[int, Value]] = {} if is_grouped else {None: {}}
    for row in rows:
        # A sum is numeric in SQL, so that none is too large.
        found.setdefault(row["group"], {})[row["place"]] = int(row["value"])
    return filled(found, span)


def filled(found: Mapping[str | None, Mapping[int, Value]], span: Span) -> Figures:
    """A 0 for each bucket that has no value; groups by name."""
    places = range(1, len(span) + 1)
    groups = sorted(found, key=lambda group: group or "")
    return {group: [found[group].get(place, 0) for place in places] for group in groups}


def halves(figures: Figures) -> tuple[Figures, Figures]:
    """Of two periods as one, the figures of the first and of the second."""
    middle = len(next(iter(figures.values()), [])) // 2
    first = {group: values[:middle] for group, values in figures.items()}
    return first, {group: values[middle:] for group, values in figures.items()}


def without_empty(figures: Figures) -> Figures:
    """Without the groups that have nothing; what has no groups stays."""
    return {group: values for group, values in figures.items() if group is None or any(values)}
