"""Into which tenants the commands move rows: those that live, named by slug or id."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

WAYS = {
    "import": ("import", "projects", "data.csv"),
    "migrate-from": ("migrate-from", "sqlite:///legacy.db", "--map", "users.toml"),
    "export": ("export", "projects"),
}
MAP = """[[table]]
source = "users"
key = "id"
resource = "projects"
columns = { name = "name" }
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("name\nFrom a file\n")
    (tmp_path / "users.toml").write_text(MAP)
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        legacy.execute("INSERT INTO users VALUES (1, 'From a table')")
    legacy.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_tenant_that_is_suspended_is_only_read(
    way: str, saas: Any, tenant: Any, slug: str, operator: Any
) -> None:
    at = f"/v1/admin/tenants/{tenant.tenant_id}"
    assert (await operator.post(f"{at}/suspend")).status_code == 200

    ran = await saas(*WAYS[way], "--tenant", slug)

    if way == "export":
        assert (ran.code, ran.err) == (0, "")
    else:
        assert ran.refusal == "This tenant is suspended."
    assert (await operator.post(f"{at}/resume")).status_code == 200
    assert (await saas(*WAYS[way], "--tenant", tenant.tenant_id)).code == 0
