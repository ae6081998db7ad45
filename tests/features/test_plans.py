"""Operators read, make and change plans; what a plan allows is what its tenants are held to."""

import asyncio
from uuid import uuid4

import pytest

NAMES = {
    "requests_per_second",
    "members",
    "rows",
    "storage_bytes",
    "import_bytes",
    "statement_timeout_ms",
    "usage_minutes_days",
    "usage_hours_days",
    "usage_days_days",
}
NONE = dict.fromkeys([*NAMES, "meters"])
PLANS = "/v1/admin/plans"


@pytest.fixture
def slug():
    return f"plan-{uuid4().hex[:12]}"


async def test_the_plans_that_ship_are_listed_with_all_their_limits(operator):
    listed = (await operator.get(PLANS)).json()

    assert set(listed) == {"items"}
    by_slug = {plan["slug"]: plan for plan in listed["items"]}
    assert list(by_slug) == sorted(by_slug)
    assert {"free", "pro", "enterprise"} <= set(by_slug)
    for plan in by_slug.values():
        assert set(plan) == {"slug", "name", "limits"}
        assert set(plan["limits"]) == set(NONE)
    assert by_slug["enterprise"]["limits"]["rows"] is None
    assert by_slug["enterprise"]["limits"]["requests_per_second"] >= 1_000


async def test_new_plan_is_there_and_has_no_limit_that_it_was_not_given(operator, slug):
    made = await operator.post(
        PLANS, {"slug": slug, "name": "Mine", "limits": {"rows": 7, "members": None}}
    )
    bare = await operator.post(PLANS, {"slug": f"{slug}-2", "name": "Bare"})

    assert made.status_code == 201
    assert made.headers["location"] == f"{PLANS}/{slug}"
    assert made.json() == {"slug": slug, "name": "Mine", "limits": NONE | {"rows": 7}}
    assert (await operator.get(f"{PLANS}/{slug}")).json() == made.json()
    assert made.json() in (await operator.get(PLANS)).json()["items"]
    assert bare.json()["limits"] == NONE


async def test_change_leaves_what_it_does_not_name(operator, slug):
    await operator.post(
        PLANS, {"slug": slug, "name": "Mine", "limits": {"rows": 7, "import_bytes": 8}}
    )

    limits = await operator.patch(
        f"{PLANS}/{slug}", {"limits": {"rows": None, "members": 3, "import_bytes": 9}}
    )
    name = await operator.patch(f"{PLANS}/{slug}", {"name": "Ours"})
    nothing = await operator.patch(f"{PLANS}/{slug}", {})

    assert limits.status_code == name.status_code == nothing.status_code == 200
    assert limits.json()["name"] == "Mine"
    assert limits.json()["limits"] == NONE | {"members": 3, "import_bytes": 9}
    assert nothing.json() == {"slug": slug, "name": "Ours", "limits": limits.json()["limits"]}


async def test_two_changes_of_different_limits_at_once_both_last(operator, slug):
    await operator.post(PLANS, {"slug": slug, "name": "Mine"})

    changes = [{"rows": 11}, {"members": 12}, {"import_bytes": 13}, {"storage_bytes": 14}]
    await asyncio.gather(
        *(operator.patch(f"{PLANS}/{slug}", {"limits": change}) for change in changes)
    )

    limits = (await operator.get(f"{PLANS}/{slug}")).json()["limits"]
    assert limits == NONE | {name: n for change in changes for name, n in change.items()}


async def test_slug_is_taken_once_also_by_many_at_once(operator, slug):
    answers = await asyncio.gather(
        *(operator.post(PLANS, {"slug": slug, "name": f"N{n}"}) for n in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    assert refused["code"] == "already_exists"
    assert [fault["pointer"] for fault in refused["errors"]] == ["/slug"]


INVALID = [
    *(({"slug": slug}, "/slug") for slug in ("", "1a", "A", "a_b", "a" * 41, "ab\n", None, 1)),
    *(({"name": name}, "/name") for name in ("", " ", "n" * 121, None, 1)),
    *(({"limits": {name: 0}}, f"/limits/{name}") for name in sorted(NAMES)),
    *(({"limits": {name: -1}}, f"/limits/{name}") for name in sorted(NAMES)),
    *(({"limits": {name: "5"}}, f"/limits/{name}") for name in sorted(NAMES)),
    *(({"limits": {name: 1.5}}, f"/limits/{name}") for name in sorted(NAMES)),
    *(({"limits": {name: 2**53}}, f"/limits/{name}") for name in sorted(NAMES)),
    ({"limits": {"statement_timeout_ms": 50_001}}, "/limits/statement_timeout_ms"),
    ({"limits": {"colour": 1}}, "/limits/colour"),
    ({"limits": None}, "/limits"),
    ({"limits": []}, "/limits"),
    ({"colour": 1}, "/colour"),
]


@pytest.mark.parametrize(("change", "pointer"), INVALID)
async def test_invalid_plan_and_change_are_refused_with_their_pointer(
    operator, slug, change, pointer
):
    whole = {"slug": slug, "name": "Mine", "limits": {"rows": 1}}
    refused = [await operator.post(PLANS, whole | change)]
    made = await operator.post(PLANS, whole)
    refused.append(await operator.patch(f"{PLANS}/{slug}", change))

    assert made.status_code == 201
    for answer in refused:
        assert answer.status_code == 422, answer.text
        # The slug of a plan stands for good, so a change knows no such field.
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert (await operator.get(f"{PLANS}/{slug}")).json() == made.json()


@pytest.mark.parametrize("path", ["gold", "FREE", "free%00", "..", "%20"])
async def test_unknown_plan_is_not_found(operator, path):
    assert (await operator.get(f"{PLANS}/free")).status_code == 200
    assert (await operator.get(f"{PLANS}/{path}")).status_code == 404
    assert (await operator.patch(f"{PLANS}/{path}", {"name": "X"})).status_code == 404
