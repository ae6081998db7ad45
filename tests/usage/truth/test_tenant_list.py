"""Operators find tenants by what they use: columns that sort, filter and page like any other."""

import pytest

from saas.usage.folding import fold

COLUMNS = ("requests_month", "errors_month", "rows", "storage_bytes", "growth_30d")
ASKED = (
    "INSERT INTO usage_days (tenant, day, requests, errors, bytes_in, bytes_out) "
    "VALUES (%s, (now() AT TIME ZONE 'UTC')::date - %s, %s, %s, 0, 0)"
)


@pytest.fixture
async def five(onboard, superuser):
    """Five tenants: the later the more of everything, the first two alike."""
    callers = [await onboard() for _ in range(5)]
    for number, caller in enumerate(callers):
        for row in range(number and number - 1):
            await caller.create("projects", name=f"p{row}")
        superuser(ASKED, caller.tenant_id, 0, 10 * max(number, 1), max(number, 1))
    return callers


def ids_of(callers):
    return ",".join(caller.tenant_id for caller in callers)


async def listed(operator, query):
    answer = await operator.get(f"/v1/admin/tenants?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_each_tenant_is_shown_with_what_it_uses(five, operator, database):
    tenant = five[-1]
    row = (await tenant.get("/v1/projects?limit=1")).json()["items"][0]
    await fold(database)
    await tenant.delete(f"/v1/projects/{row['id']}")
    await tenant.create("projects", name="New")
    stats = (await tenant.get("/v1/stats")).json()

    # Looked up one by one, and added up for all.
    for query in ("", "&sort=-requests_month"):
        page = await listed(operator, f"id={tenant.tenant_id}{query}")

        (item,) = page["items"]
        assert {name: item[name] for name in COLUMNS} == {
            "requests_month": 40,
            "errors_month": 4,
            "rows": 3,
            "storage_bytes": stats["storage_bytes"],
            "growth_30d": 3,
        }
        assert item["last_activity_at"] == stats["last_activity_at"]
        assert item["slug"] == tenant.body["tenant"]["slug"]
        assert item["limits"] == {}


async def test_tenant_that_was_there_before_counting_began_was_never_active(
    tenant, operator, superuser, database
):
    await fold(database)
    superuser(
        "UPDATE usage_totals SET changed_at = '-infinity' WHERE tenant = %s", tenant.tenant_id
    )

    shown = [
        (await listed(operator, f"id={tenant.tenant_id}{query}"))["items"][0]["last_activity_at"]
        for query in ("", "&sort=-requests_month")
    ]

    assert shown == [None, None]
    assert (await tenant.get("/v1/stats")).json()["last_activity_at"] is None


@pytest.mark.parametrize("column", [*COLUMNS, "last_activity_at"])
@pytest.mark.parametrize("sign", ["", "-"])
async def test_pages_by_a_figure_show_each_tenant_once_in_order(five, operator, column, sign):
    query = f"id__in={ids_of(five)}&sort={sign}{column}"
    whole = (await listed(operator, query))["items"]
    values = [item[column] for item in whole]
    assert values == sorted(values, reverse=bool(sign))
    assert len(whole) == 5

    paged, cursor = [], ""
    while cursor is not None:
        page = await listed(
            operator, f"{query}&limit=2&cursor={cursor}" if cursor else f"{query}&limit=2"
        )
        paged += page["items"]
        cursor = page["next_cursor"]
    back = await listed(operator, f"{query}&limit=2&cursor={page['prev_cursor']}")

    assert paged == whole
    assert back["items"] == whole[2:4]


async def test_figures_filter_like_any_column(five, operator):
    among = f"id__in={ids_of(five)}"

    busy = await listed(operator, f"{among}&requests_month__gte=30&sort=requests_month")
    one = await listed(operator, f"{among}&or=(rows.eq.3,errors_month.gt.3)&include_total=true")
    offset = await listed(operator, f"{among}&rows__lt=2&limit=1&offset=1")
    some = await listed(operator, f"{among}&fields=slug,rows&sort=-rows&limit=1")

    assert [item["requests_month"] for item in busy["items"]] == [30, 40]
    assert (one["total"], len(one["items"])) == (1, 1)
    assert (offset["total"], len(offset["items"])) == (3, 1)
    assert some["items"] == [{"slug": five[-1].body["tenant"]["slug"], "rows": 3}]


async def test_bad_figures_are_refused_by_name(operator):
    for query, named in (
        ("rows=many", "integer"),
        ("sort=-bytes", "storage_bytes"),
        ("requests__gt=1", "requests_month"),
        ("dormant_days=0", "1 to 3650"),
        ("dormant_days=x", "1 to 3650"),
        ("dormant_days=1&dormant_days=2", "once"),
    ):
        refused = await operator.get(f"/v1/admin/tenants?{query}")
        assert refused.status_code == 400, query
        assert named in refused.json()["detail"]


@pytest.fixture
async def sleeping(onboard, superuser, database):
    """Of four tenants: one that sleeps, one that asks, one that changes, one just changed."""
    callers = [await onboard() for _ in range(4)]
    await fold(database)
    for caller in callers:
        superuser(
            "UPDATE usage_totals SET changed_at = now() - interval '40 days' WHERE tenant = %s",
            caller.tenant_id,
        )
        superuser(ASKED, caller.tenant_id, 35, 9, 0)
    superuser(ASKED, callers[1].tenant_id, 10, 1, 0)
    superuser(
        "UPDATE usage_totals SET changed_at = now() - interval '5 days' "
        "WHERE tenant = %s AND entity = 'members'",
        callers[2].tenant_id,
    )
    await callers[3].create("projects", name="Awake")
    return callers


async def test_dormant_tenants_have_neither_asked_nor_changed(sleeping, operator):
    asleep, asks, changes, _ = (caller.tenant_id for caller in sleeping)
    among = f"id__in={ids_of(sleeping)}"

    for days, expected in (
        (4, {asleep, asks, changes}),
        (9, {asleep, asks}),
        (34, {asleep}),
        (36, set()),
    ):
        for order in ("", "&sort=-rows"):
            page = await listed(operator, f"{among}&dormant_days={days}&include_total=true{order}")
            assert {item["id"] for item in page["items"]} == expected, days
            assert page["total"] == len(expected)


async def test_cursor_of_the_dormant_is_for_the_dormant_alone(sleeping, operator):
    query = f"id__in={ids_of(sleeping)}&limit=1"
    dormant = await listed(operator, f"{query}&dormant_days=4")

    again = await listed(operator, f"{query}&dormant_days=4&cursor={dormant['next_cursor']}")
    for other in ("", "&dormant_days=5"):
        refused = await operator.get(
            f"/v1/admin/tenants?{query}{other}&cursor={dormant['next_cursor']}"
        )
        assert refused.status_code == 400
        assert "cursor" in refused.json()["detail"]

    assert len({item["id"] for page in (dormant, again) for item in page["items"]}) == 2
