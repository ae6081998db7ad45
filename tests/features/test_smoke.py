async def test_two_tenants_are_kept_apart(tenant, other_tenant):
    row = await tenant.create("projects", name="Rocket")
    assert (await tenant.get(f"/v1/projects/{row['id']}")).status_code == 200
    assert (await other_tenant.get(f"/v1/projects/{row['id']}")).status_code == 404
