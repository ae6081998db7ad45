"""A query parameter that a route does not know is refused, on every route."""

import pytest
from refusals import assert_refused


@pytest.fixture
async def row(tenant):
    return (await tenant.create("projects", name="Rocket"))["id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/projects/{id}", "Allowed: as_of, fields."),
        ("HEAD", "/v1/projects/{id}", None),
        ("PATCH", "/v1/projects/{id}", "It takes none."),
        ("DELETE", "/v1/projects/{id}", "Allowed: hard."),
        ("POST", "/v1/projects/{id}/restore", "It takes none."),
        ("GET", "/v1/projects/{id}/history", "Allowed: id, at"),
        ("POST", "/v1/projects", "It takes none."),
        ("GET", "/v1/projects", "Allowed: id, name"),
        ("GET", "/v1/stats", "It takes none."),
        ("GET", "/v1/audit", "Allowed: id, at"),
    ],
)
async def test_unknown_parameter_is_refused_naming_what_is_allowed(
    tenant, row, method, path, allowed
):
    refused = await tenant(method, f"{path.format(id=row)}?colour=red")

    assert refused.status_code == 400
    if allowed is not None:
        problem = assert_refused(refused, 400, "bad_request", {"/colour": "bad_parameter"})
        assert allowed in problem["detail"]
    kept = await tenant.get(f"/v1/projects/{row}")
    assert (kept.status_code, kept.json()["version"]) == (200, 1)
    assert [p["name"] for p in (await tenant.get("/v1/projects")).json()["items"]] == ["Rocket"]


async def test_routes_of_the_platform_refuse_unknown_parameters_too(tenant, operator):
    path = f"/v1/admin/tenants/{tenant.tenant_id}"

    assert (await operator.get(path)).status_code == 200
    refused = [
        await operator.get(f"{path}?colour=red"),
        await operator.get("/v1/admin/tenants?colour=red"),
        await operator.post("/v1/admin/tenants?colour=red", {}),
    ]
    for answer in refused:
        assert_refused(answer, 400, "bad_request", {"/colour": "bad_parameter"})


async def test_credential_and_permission_come_before_the_parameters(http, tenant, row, member_with):
    reader = member_with(tenant, permissions=["projects:read"])

    assert_refused(await http.get(f"/v1/projects/{row}?colour=red"), 401, "unauthenticated")
    assert_refused(await reader.get("/v1/stats?colour=red"), 403, "permission_denied")
    assert (await reader.get(f"/v1/projects/{row}?colour=red")).status_code == 400


async def test_parameter_of_a_row_is_given_once_and_is_utf8(tenant, row):
    path = f"/v1/projects/{row}"

    assert_refused(await tenant.delete(f"{path}?hard=false&hard=false"), 400, "bad_request")
    assert_refused(await tenant.get(f"{path}?fields=%FF"), 400, "bad_request")
    assert_refused(await tenant.delete(f"{path}?hard=yes"), 400, "bad_request")
    assert_refused(await tenant.delete(f"{path}?="), 400, "bad_request")
    assert (await tenant.get(path)).status_code == 200


async def test_probes_and_pages_in_the_open_may_carry_any_parameter(http):
    for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
        assert (await http.get(f"{path}?verbose")).status_code == 200
    assert (await http.options("/v1/projects?colour=red")).status_code == 204
