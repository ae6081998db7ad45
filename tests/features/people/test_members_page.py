"""docs/members-and-keys.md says what is so: its walk is taken, its table and numbers are those of
the code."""

import json
import re
from pathlib import Path

from litestar.routes import HTTPRoute

from saas.app import RESOURCES
from saas.auth.permissions import PermissionCatalogue
from saas.settings import Settings
from saas.tenancy.api_keys import MOST_OVERLAP_SECONDS
from saas.tenancy.invitations import LIFETIME

PAGE = (Path(__file__).parents[3] / "docs" / "members-and-keys.md").read_text(encoding="utf-8")
WALK = re.search(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
STEP = re.compile(
    r"(?P<who>\S+) +(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<body>{.*?}))?"
    r"(?: \[(?P<name>[\w-]+): (?P<value>.*?)\])? +(?P<status>\d{3})(?P<kept>(?: \w+=[\w.]+)*)"
)


def found_in(body, path):
    for name in path.split("."):
        body = body[name]
    return body


async def test_the_walk_of_the_page_is_as_it_says(tenant, other_tenant, http):
    known = {"acme": tenant.key, "other": other_tenant.key}
    steps = WALK.splitlines()
    assert len(steps) > 15

    for line in steps:
        step = STEP.fullmatch(re.sub(r"<(\w+)>", lambda name: known[name[1]], line))
        assert step, line
        headers = {step["name"]: step["value"]} if step["name"] else {}
        if step["who"] != "-":
            headers["Authorization"] = f"Bearer {known[step['who']]}"
        body = json.loads(step["body"]) if step["body"] else None
        answer = await http.request(step["method"], step["path"], json=body, headers=headers)
        assert answer.status_code == int(step["status"]), (line, answer.text)
        for kept in step["kept"].split():
            name, path = kept.split("=")
            known[name] = found_in(answer.json(), path)


def test_every_route_that_the_page_names_is_there(app):
    served = set()
    for route in app.app.routes:
        assert isinstance(route, HTTPRoute)
        served |= {(str(method), route.path_format) for method in route.methods}
    named = set(re.findall(r"`(GET|PATCH|POST|DELETE) (/v1/[\w/{}-]+)", PAGE))

    assert len(named) > 3
    assert named <= served


def test_roles_and_numbers_of_the_page_are_those_of_the_code():
    catalogue = PermissionCatalogue(resource.name for resource in RESOURCES)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    of = {role: catalogue.of_role(role) for role in rows}

    assert set(rows) == {"viewer", "member", "admin", "owner"}
    assert {p.rpartition(":")[2] for p in of["viewer"]} == {"read"}
    assert catalogue.all - of["viewer"] >= {"api_keys:read", "audit:read"}
    assert {p.rpartition(":")[2] for p in of["member"] - of["viewer"]} == {"write"}
    managed = {"members:write", "api_keys:read", "api_keys:write", "audit:read"}
    assert managed <= of["admin"] - of["member"]
    assert of["owner"] - of["admin"] == {"tenant:write"}
    assert f"lives for {LIFETIME.days} days" in PAGE
    assert f"{MOST_OVERLAP_SECONDS // 86_400} days at most" in PAGE
    assert f"`SAAS_KEY_USE_SECONDS`, {Settings().key_use_seconds:.0f} by default" in PAGE
