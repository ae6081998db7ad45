"""docs/adding-a-resource.md, followed to the letter in a copy of the checkout: one resource written
by hand, and another by the command. One migration holds both."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from processes import Dev, processes_of
from scratch_copy import ROOT, run, scratch_copy, versions

pytestmark = pytest.mark.long

PAGE = (ROOT / "docs" / "adding-a-resource.md").read_text()
# Every type of a field, in a resource that has a name of two words.
COMMAND = (
    *(".venv/bin/saas", "new", "resource", "paid_receipts", "--natural-key", "project,number"),
    *("number:str", "note:text?", "total_cents:int", "is_final:bool", "issued_on:date?"),
    *("paid_at:datetime?", "external_id:uuid?", "extra:json?", "project:projects"),
    *("payer:members?",),
)


class Product(NamedTuple):
    """The copy with the resource in it, served."""

    checkout: Path
    dev: Dev
    migration: Path

    @property
    def acme(self) -> str:
        return self.dev.keys()["acme"]

    @property
    def globex(self) -> str:
        return self.dev.keys()["globex"]


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with scratch_copy() as checkout:
        with Dev(checkout / ".saas", cwd=checkout) as dev:
            dev.ready()
            # With the resource and without its table it would not start again.
            assert dev.interrupt() == 0
        write_the_resource(checkout)
        register_it(checkout)
        assert "make test" in run(checkout, *COMMAND)
        old = set(versions(checkout))
        run(checkout, "sh", "-ec", block("sh"))
        assert processes_of(checkout / ".saas") == []
        (migration,) = set(versions(checkout)) - old
        with Dev(checkout / ".saas", cwd=checkout) as dev:
            yield Product(checkout, dev.ready(), migration)


def write_the_resource(checkout: Path) -> None:
    named = re.search(r"\*\*1\. Write `(\S+)`:\*\*", PAGE)
    assert named is not None
    (checkout / named[1]).write_text(block("python"))


def register_it(checkout: Path) -> None:
    named = re.search(r"\*\*2\. Register it in `(\S+)`:\*\*", PAGE)
    assert named is not None
    file = checkout / named[1]
    added_import, before, after = block("diff").splitlines()
    assert (added_import[0], before[0], after[0]) == ("+", "-", "+")
    source = file.read_text()
    assert source.count(f"\n{before[1:]}\n") == 1
    lines = source.replace(before[1:], after[1:]).splitlines()
    # In its sorted place among the features.
    place = next(
        number
        for number, line in enumerate(lines)
        if line.startswith("from saas.features.") and line > added_import[1:]
    )
    lines.insert(place, added_import[1:])
    file.write_text("\n".join(lines) + "\n")


def block(language: str) -> str:
    """The page's first block of code in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", ["invoices", "paid_receipts"])
def test_migration_holds_all_that_guards_the_table(product: Product, name: str) -> None:
    written = product.migration.read_text()

    assert product.migration.name.endswith("_invoices.py")
    for part in (
        f'op.create_table(\n        "{name}"',
        'sa.PrimaryKeyConstraint("tenant_id", "id"',
        '["projects.tenant_id", "projects.id"]',
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant_isolation ON {name} AS PERMISSIVE",
        f"CREATE POLICY tenant_fence ON {name} AS RESTRICTIVE",
        f"GRANT SELECT ON {name} TO saas_app",
        f"CREATE TRIGGER audit_inserted AFTER INSERT ON public.{name}",
        f"CREATE TRIGGER audit_updated AFTER UPDATE ON public.{name}",
        f"CREATE TRIGGER audit_row AFTER DELETE ON public.{name}",
        f'op.drop_table("{name}")',
    ):
        assert part in re.sub(r'"\s+"', "", written)
    granted = re.findall(r"GRANT UPDATE \(([^)]*)\)", written)
    assert len(granted) == 2
    columns = {column for columns in granted for column in re.findall(r"\w+", columns)}
    assert not {"tenant_id", "id", "created_at", "created_by"} & columns


def test_nothing_remains_to_be_migrated_or_mended(product: Product) -> None:
    before = set(versions(product.checkout))

    again = run(product.checkout, ".venv/bin/alembic", "revision", "--autogenerate", "-m", "again")
    run(product.checkout, sys.executable, "-m", "ruff", "check", "saas", "migrations")
    run(product.checkout, sys.executable, "-m", "ruff", "format", "--check", "saas", "migrations")
    run(product.checkout, sys.executable, "-m", "saas.cli", "lint")

    assert "no migration written" in again
    assert set(versions(product.checkout)) == before


def test_doctor_knows_the_new_table(product: Product) -> None:
    assert "Both locks are in place." in run(product.checkout, ".venv/bin/saas", "doctor")


def test_new_routes_serve_a_whole_life_of_a_row(product: Product) -> None:
    dev, acme = product.dev, product.acme
    project = dev.get("/v1/projects?name=Rocket", acme).json()["items"][0]["id"]
    wish = {"project_id": project, "number": "R-1", "amount_cents": 990, "due_on": "2027-01-31"}

    made = dev.ask("POST", "/v1/invoices", acme, wish)
    assert made.status_code == 201
    path = f"/v1/invoices/{made.json()['id']}"
    assert made.json().items() >= wish.items()
    assert dev.ask("POST", "/v1/invoices", acme, wish).status_code == 409
    assert dev.ask("POST", "/v1/invoices", acme, {**wish, "number": ""}).status_code == 422
    found = dev.get("/v1/invoices?q=r-1&amount_cents__gte=900&sort=-due_on", acme).json()["items"]
    assert found == [made.json()]
    changed = dev.ask("PATCH", path, acme, {"amount_cents": 1990, "version": 1})
    assert (changed.json()["amount_cents"], changed.json()["version"]) == (1990, 2)
    assert dev.ask("DELETE", path, acme).status_code == 204
    assert dev.get(path, acme).status_code == 404
    assert dev.ask("POST", f"{path}/restore", acme).status_code == 200
    history = dev.get(f"{path}/history", acme).json()["items"]
    assert history[-1]["action"] == "insert"
    assert history[-2]["changes"]["amount_cents"] == {"old": 990, "new": 1990}
    assert dev.get("/v1/stats", acme).json()["resources"]["invoices"]["active"] >= 1
    assert "/v1/invoices/{id}" in dev.get("/openapi.json", acme).json()["paths"]


def test_resource_of_the_command_takes_and_gives_every_type(product: Product) -> None:
    dev, acme = product.dev, product.acme
    project = dev.get("/v1/projects?name=Rocket", acme).json()["items"][0]["id"]
    wish = {
        "project_id": project,
        "payer_id": None,
        "number": "Q-1",
        "note": "long " * 900,
        "total_cents": 2**53 + 1,
        "is_final": True,
        "issued_on": "2027-01-31",
        "paid_at": "2027-01-31T09:00:00Z",
        "external_id": project,
        "extra": {"a": [1, {"b": None}]},
    }

    made = dev.ask("POST", "/v1/paid_receipts", acme, wish)
    assert made.status_code == 201, made.text
    assert made.json().items() >= wish.items()
    path = f"/v1/paid_receipts/{made.json()['id']}"
    least = {"project_id": project, "number": "Q-2", "total_cents": 0, "is_final": False}
    assert dev.ask("POST", "/v1/paid_receipts", acme, least).status_code == 201
    assert dev.ask("POST", "/v1/paid_receipts", acme, least).status_code == 409
    for field, value in (
        *(("number", ""), ("number", "x" * 201), ("number", None), ("note", "x" * 5001)),
        *(("total_cents", 2**63), ("is_final", "true"), ("issued_on", "31.1.2027")),
        *(("paid_at", "2027-01-31T09:00:00"), ("external_id", "x"), ("extra", [])),
        *(("paid_at", "0001-01-01T00:00:00+14:00"), ("extra", {"a": "\x00"})),
        ("payer_id", project),
    ):
        refused = dev.ask(
            "POST", "/v1/paid_receipts", acme, {**wish, "number": "Q-3", field: value}
        )
        assert refused.status_code == 422, (field, value, refused.text)
    cleared = dev.ask("PATCH", path, acme, {"extra": None, "paid_at": None, "note": None})
    assert cleared.json().items() >= {**wish, "extra": None, "paid_at": None, "note": None}.items()
    asked = "is_final=true&issued_on__lt=2027-02-01&paid_at__isnull=true&sort=-total_cents&q=q-1"
    found = dev.get(f"/v1/paid_receipts?{asked}", acme).json()["items"]
    assert [row["number"] for row in found] == ["Q-1"]


def test_row_of_another_tenant_is_absent_and_its_parent_too(product: Product) -> None:
    dev, acme, globex = product.dev, product.acme, product.globex
    rocket = dev.get("/v1/projects?name=Rocket", acme).json()["items"][0]["id"]
    volcano = dev.get("/v1/projects?name=Volcano", globex).json()["items"][0]["id"]
    wish = {"project_id": rocket, "number": "F-1", "amount_cents": 1}
    path = f"/v1/invoices/{dev.ask('POST', '/v1/invoices', acme, wish).json()['id']}"
    assert dev.get(path, acme).status_code == 200

    assert dev.ask("POST", "/v1/invoices", globex, wish).status_code == 422
    assert dev.ask("POST", "/v1/invoices", globex, {**wish, "project_id": volcano}).is_success

    for method, body in (("GET", None), ("PATCH", {"amount_cents": 2}), ("DELETE", None)):
        assert dev.ask(method, path, globex, body).status_code == 404
    assert dev.get(f"{path}/history", globex).json().get("items", []) == []
    numbers = [row["number"] for row in dev.get("/v1/invoices", globex).json()["items"]]
    assert numbers == ["F-1"]
    assert dev.get(path, acme).json()["amount_cents"] == 1


def test_isolation_suite_finds_and_attacks_the_resource(product: Product) -> None:
    # Of all that `make test` would attack, as much as shows that it is found.
    chosen = "every_route or (paid_receipts and absent)"

    said = run(
        product.checkout,
        *(sys.executable, "-m", "pytest", "tests/isolation/test_routes.py", "-k", chosen, "-vv"),
        *(
            f"-pno:{plugin}"
            for plugin in ("cacheprovider", "xdist", "randomly", "hypothesispytest")
        ),
    )

    assert len(re.findall(r"::(test_\w+)\[[^]]*paid_receipts[^]]*\] PASSED", said)) > 5
    assert "test_every_route_of_the_running_app_is_attacked PASSED" in said
