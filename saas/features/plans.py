"""The platform plane: operators read, make and change plans."""

import msgspec
from litestar import get, patch, post
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from saas.errors import NotFound
from saas.tenancy.plans import (
    NewPlan,
    PlanChange,
    PlanRead,
    Slug,
    change_plan,
    create_plan,
    plan_by_slug,
    plans,
)
from saas.web.answer import json_answer
from saas.web.described import described


class Plans(msgspec.Struct, frozen=True):
    items: list[PlanRead]


@get(
    "/v1/admin/plans",
    **described("plans.list", "List all plans", plane="platform", success=200, body=Plans),
)
async def list_plans() -> ASGIApp:
    return json_answer(Plans(await plans()))


@get(
    "/v1/admin/plans/{slug:str}",
    **described(
        "plans.get",
        "Read a plan",
        plane="platform",
        success=200,
        body=PlanRead,
        refusals=(404,),
    ),
)
async def get_plan(slug: FromPath[str]) -> ASGIApp:
    return json_answer(await plan_by_slug(_slug(slug)))


@post(
    "/v1/admin/plans",
    **described(
        "plans.create",
        "Make a plan",
        plane="platform",
        success=201,
        body=PlanRead,
        refusals=(409,),
    ),
)
async def post_plan(data: JSONBody[NewPlan]) -> ASGIApp:
    plan = await create_plan(data)
    return json_answer(plan, 201, [(b"location", f"/v1/admin/plans/{plan.slug}".encode())])


@patch(
    "/v1/admin/plans/{slug:str}",
    **described(
        "plans.change",
        "Change a plan; its tenants feel it within five seconds",
        plane="platform",
        success=200,
        body=PlanRead,
        refusals=(404,),
    ),
)
async def patch_plan(slug: FromPath[str], data: JSONBody[PlanChange]) -> ASGIApp:
    return json_answer(await change_plan(_slug(slug), data))


def _slug(text: str) -> str:
    """A malformed slug is one that no plan has."""
    try:
        return msgspec.convert(text, Slug)
    except msgspec.ValidationError:
        raise NotFound from None


plan_handlers = (list_plans, get_plan, post_plan, patch_plan)
