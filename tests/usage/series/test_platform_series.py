"""The same figures over all tenants, which the platform's role alone can read."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import platform_transaction, transaction
from saas.usage.activity_series import activity
from saas.usage.buckets import Calendar, Span
from saas.usage.metrics import METRICS, groups_of, metric_figures

# A day that no other test writes to.
EDGES = tuple(datetime(2031, 5, day, tzinfo=UTC) for day in (1, 2, 3))
SPAN = Span(Calendar("day", UTC), EDGES)
RESOURCES = ("projects",)


@pytest.fixture
async def database(settings):
    async with Database(settings.database_url, settings.platform_database_url) as database:
        yield database


async def test_sums_over_all_tenants_are_those_of_each(tenant, other_tenant, figures, database):
    for caller, count in ((tenant, 3), (other_tenant, 4)):
        figures.requests(caller, "2031-05-02T10:00Z", requests=count, bytes_in=1, bytes_out=1)
        figures.day(caller, "2031-05-02", count)
        figures.activity(caller, "2031-05-02T10:00Z", "member:a", (count, 0, 0))
        figures.meter(caller, "2031-05-02T10:00Z", count)

    async with platform_transaction(database):
        total = {}
        for metric in ("requests", "rows_written", "pdf_pages"):
            for group in (None, "actor"):
                total[metric, group] = await metric_figures(
                    metric, SPAN, resources=RESOURCES, tenant_id=None, group_by=group
                )
        done = await activity(SPAN, RESOURCES, tenant_id=None)

    kinds = {"requests": "key", "rows_written": "member", "pdf_pages": "key"}
    for metric, kind in kinds.items():
        assert (total[metric, None], total[metric, "actor"]) == ({None: [0, 7]}, {kind: [0, 7]})
    assert done.series["projects", "created"] == [0, 7]
    assert [(one.actor, one.created) for one in done.top_actors] == [("member:a", 7)]


async def test_platform_that_asks_for_one_tenant_sees_that_one(
    tenant, other_tenant, figures, database
):
    for caller, count in ((tenant, 3), (other_tenant, 4)):
        figures.requests(caller, "2031-05-02T10:00Z", requests=count)
        figures.day(caller, "2031-05-02", count)
        figures.activity(caller, "2031-05-02T10:00Z", "member:a", (count, 0, 0))
        figures.meter(caller, "2031-05-02T10:00Z", count)
    one = UUID(tenant.tenant_id)

    async with platform_transaction(database):
        for metric in ("requests", "rows_written", "pdf_pages"):
            for group, kinds in ((None, {None}), ("actor", {"key", "member"})):
                found = await metric_figures(
                    metric, SPAN, resources=RESOURCES, tenant_id=one, group_by=group
                )
                assert [*found.values()] == [[0, 3]]
                assert {*found} <= kinds
        assert (await activity(SPAN, RESOURCES, tenant_id=one)).top_actors[0].created == 3


async def test_tenant_that_asks_for_all_or_another_sees_its_own_at_most(
    tenant, other_tenant, figures, database
):
    figures.requests(other_tenant, "2031-05-01T10:00Z", requests=5)
    figures.day(other_tenant, "2031-05-01", 5)
    figures.activity(other_tenant, "2031-05-01T10:00Z", "member:a", (1, 1, 1))
    figures.meter(other_tenant, "2031-05-01T10:00Z", 5)
    principal = Principal(tenant_id=UUID(tenant.tenant_id), actor="system:test")

    with acting_as(principal):
        async with transaction(database, read_only=True):
            for asked in (None, UUID(other_tenant.tenant_id)):
                for metric in (*METRICS, "pdf_pages"):
                    assert await metric_figures(
                        metric, SPAN, resources=RESOURCES, tenant_id=asked
                    ) == {None: [0, 0]}
                    for group in groups_of(metric):
                        grouped = await metric_figures(
                            metric, SPAN, resources=RESOURCES, tenant_id=asked, group_by=group
                        )
                        assert grouped == {}
