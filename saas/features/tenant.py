"""The tenant itself, as its members see it: `GET` and `PATCH /v1/tenant`."""

from litestar import get, patch
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from saas.tenancy.directory import TenantRead
from saas.tenancy.fields import Name
from saas.tenancy.own_tenant import own_tenant, rename_own_tenant
from saas.web.described import IF_MATCH, IF_NONE_MATCH, described
from saas.web.row_answer import changed_row, row_answer
from saas.web.row_request import AnyRequest, wanted_version_of
from saas.web.schemas import Update


class TenantUpdate(Update):
    """The display name is all that a tenant changes of itself; plan and status are the operator's,
    the slug nobody's."""

    name: Name | UnsetType = UNSET


@get(
    "/v1/tenant",
    **described(
        "tenant.get",
        "Read the tenant",
        permission="tenant:read",
        success=200,
        body=TenantRead,
        refusals=(400,),
        parameters=(IF_NONE_MATCH,),
    ),
)
async def get_tenant(request: AnyRequest) -> ASGIApp:
    return row_answer(request, await own_tenant())


@patch(
    "/v1/tenant",
    **described(
        "tenant.update",
        "Rename the tenant",
        permission="tenant:write",
        success=200,
        body=TenantRead,
        refusals=(409, 412),
        parameters=(IF_MATCH,),
    ),
)
async def update_tenant(request: AnyRequest, data: JSONBody[TenantUpdate]) -> ASGIApp:
    async def present() -> int:
        return (await own_tenant()).version

    wanted = await wanted_version_of(request, present, in_body=data.version)
    name = None if data.name is UNSET else data.name
    with wanted.refusals():
        tenant = await rename_own_tenant(name, version=wanted.version)
    return changed_row(tenant)


tenant_handlers = [get_tenant, update_tenant]
