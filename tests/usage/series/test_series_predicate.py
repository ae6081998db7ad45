"""Series are of the bound tenant by their own text, also where no policy hides the others."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db.transaction import platform_transaction
from saas.errors import Unbound
from saas.usage.activity_series import activity
from saas.usage.buckets import Calendar, Span
from saas.usage.meter_series import has_meter, meter_names
from saas.usage.metrics import METRICS, groups_of, metric_figures

EDGES = tuple(datetime(2031, 5, day, tzinfo=UTC) for day in (1, 2, 3))
SPAN = Span(Calendar("day", UTC), EDGES)
RESOURCES = ("projects",)
EVERY = (*METRICS, "pdf_pages")


@pytest.fixture
def lived(tenant, other_tenant, figures):
    """Both have figures of every kind."""
    for caller, count in ((tenant, 3), (other_tenant, 4)):
        figures.requests(caller, "2031-05-02T10:00Z", requests=count, bytes_in=1, bytes_out=1)
        figures.day(caller, "2031-05-02", count)
        figures.activity(caller, "2031-05-02T10:00Z", "member:a", (count, 0, 0))
        figures.meter(caller, "2031-05-02T10:00Z", count)


async def test_role_that_sees_all_tenants_is_told_of_the_bound_one(lived, tenant, database):
    principal = Principal(tenant_id=UUID(tenant.tenant_id), actor="system:test")

    with acting_as(principal):
        async with platform_transaction(database):
            for metric in ("requests", "rows_written", "pdf_pages"):
                for group in (None, "actor"):
                    found = await metric_figures(metric, SPAN, resources=RESOURCES, group_by=group)
                    assert [*found.values()] == [[0, 3]]
            assert (await activity(SPAN, RESOURCES)).top_actors[0].created == 3


async def test_role_that_sees_all_tenants_is_told_nothing_of_one_without_figures(lived, database):
    with acting_as(Principal(tenant_id=uuid4(), actor="system:test")):
        async with platform_transaction(database):
            for metric in EVERY:
                total = await metric_figures(metric, SPAN, resources=RESOURCES)
                assert total == {None: [0, 0]}
                for group in groups_of(metric):
                    assert not await metric_figures(
                        metric, SPAN, resources=RESOURCES, group_by=group
                    )
            assert (await activity(SPAN, RESOURCES)).top_actors == []
            assert (await has_meter("pdf_pages"), await meter_names()) == (False, [])


async def test_without_a_tenant_there_is_no_series(database):
    async with platform_transaction(database):
        for metric in EVERY:
            with pytest.raises(Unbound):
                await metric_figures(metric, SPAN, resources=RESOURCES)
        with pytest.raises(Unbound):
            await activity(SPAN, RESOURCES)
        with pytest.raises(Unbound):
            await has_meter("pdf_pages")
