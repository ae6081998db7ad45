"""Every metric by its name: what there is, by what it can be grouped, and its figures."""

import re
from collections.abc import Sequence

from saas.limits import METER_PATTERN
from saas.usage.activity_series import rows_written
from saas.usage.buckets import Span
from saas.usage.meter_series import meter_quantity
from saas.usage.request_series import REQUEST_GROUPS, REQUEST_METRICS, request_figures
from saas.usage.series import Figures

METRICS = (*REQUEST_METRICS, "rows_written")
"""Those of every tenant. All other names are meters of the product."""
GROUPS = REQUEST_GROUPS
_GROUPS_OF_OTHERS = ("actor",)


def groups_of(metric: str) -> tuple[str, ...]:
    return REQUEST_GROUPS if metric in REQUEST_METRICS else _GROUPS_OF_OTHERS


def can_be_meter(name: str) -> bool:
    """Whether a meter may have the name; a metric's own is taken."""
    return name not in METRICS and re.fullmatch(METER_PATTERN, name) is not None


async def metric_figures(
    metric: str,
    span: Span,
    *,
    resources: Sequence[str],
    group_by: str | None = None,
) -> Figures:
    """Of the bound tenant, in all or by one of `groups_of` the metric. Rows are those of
    `resources`."""
    if metric in REQUEST_METRICS:
        return await request_figures(metric, span, group_by=group_by)
    by_actor = group_by == "actor"
    if metric == "rows_written":
        return await rows_written(span, resources, by_actor=by_actor)
    return await meter_quantity(metric, span, by_actor=by_actor)
