"""What docs/limits.md shows is what the API does."""

import json
import re
from pathlib import Path
from typing import Any

from saas.limits import Limits

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8")
PLAN, PROBLEM, STORAGE = (
    json.loads(block)
    for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
HEADERS = dict(re.findall(r"^(RateLimit\S*): (.+)$", PAGE, re.MULTILINE))


async def test_plan_of_the_page_is_taken_and_limits_its_tenants(
    operator: Any, onboard: Any
) -> None:
    plan = PLAN | {"slug": "of-the-page"}
    made = await operator.post("/v1/admin/plans", plan)
    assert made.status_code == 201, made.text
    tenant = await onboard(plan["slug"])

    answer = await tenant.get("/v1/projects")

    assert answer.headers["ratelimit-policy"] == HEADERS["RateLimit-Policy"]
    shape = re.sub(r"\d+", r"\\d+", re.escape(HEADERS["RateLimit"]))
    assert re.fullmatch(shape, answer.headers["ratelimit"])
    lifted = re.search(r"`(\{\"limits\": .+?\})`", PAGE)
    assert lifted is not None
    changed = await operator.patch(f"/v1/admin/plans/{plan['slug']}", json.loads(lifted[1]))
    assert changed.json()["limits"] == made.json()["limits"] | {"rows": None}


async def test_problem_of_the_page_is_the_one_that_is_told(on_plan: Any) -> None:
    tenant = await on_plan(rows=1)
    await tenant.create("projects", name="Only")

    refused = (await tenant.post("/v1/projects", {"name": "More"})).json()

    assert {name: refused[name] for name in PROBLEM} == PROBLEM | {"value": 1}


async def test_problem_of_full_storage_is_the_one_that_is_told(on_plan: Any) -> None:
    tenant = await on_plan(storage_bytes=1)

    refused = (await tenant.post("/v1/projects", {"name": "More"})).json()

    assert {name: refused[name] for name in STORAGE} == STORAGE | {"value": 1}


async def test_plans_that_ship_keep_figures_as_long_as_the_page_says(operator: Any) -> None:
    plans = (await operator.get("/v1/admin/plans")).json()["items"]

    kept = {
        plan["slug"]: [plan["limits"][f"usage_{grain}_days"] for grain in ("hours", "days")]
        for plan in plans
    }

    assert "quarter hours for 100 (free), 190 (pro) and 400 (enterprise)" in PAGE
    assert (kept["free"], kept["pro"], kept["enterprise"]) == ([100, 400], [190, 1100], [400, None])


def test_every_limit_is_on_the_page() -> None:
    named = re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)

    assert sorted(named) == sorted(Limits.__struct_fields__)
