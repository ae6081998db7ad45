"""`saas new resource`: the file that it writes, and everything that it refuses."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import saas
from command_line import run
from saas import schema
from saas.dev.scaffold import singular, wished, write_resource
from saas.dev.scaffold_app import registered
from saas.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-resource.md").read_text()
APP = (ROOT / "saas" / "app.py").read_text()
ALL_TYPES = (
    *("name:str", "note:text?", "amount:int", "is_paid:bool", "due_on:date?", "paid_at:datetime?"),
    *("external_id:uuid?", "extra:json?", "project:projects", "payer:members?"),
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A checkout with as much in it as the command needs."""
    (tmp_path / "alembic.ini").touch()
    folder = tmp_path / "saas"
    (folder / "features").mkdir(parents=True)
    for module in (folder, folder / "features"):
        (module / "__init__.py").touch()
    shutil.copy(ROOT / "saas" / "app.py", folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return folder


def files_below(folder: Path) -> dict[str, str]:
    return {str(file): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_command_of_the_page_writes_the_file_of_the_page(package: Path) -> None:
    command = re.search(r"\$ \S*saas new resource (.*?)\n```", PAGE, re.DOTALL)
    block = re.search(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert command is not None
    assert block is not None
    words = command[1].replace("\\\n", " ").replace("'", "").split()
    option = words.index("--natural-key")

    wish = wished(words[0], words[1:option], natural_key=words[option + 1])

    assert write_resource(package, wish).read_text() == block[1]


def test_written_file_is_in_the_form_of_the_tools(package: Path) -> None:
    long = "a_rather_long_name_of_thirty_c"
    write_resource(package, wished("receipts", ALL_TYPES, natural_key="project,name"))
    write_resource(
        package,
        wished(
            "purchase_order_lines_of_a_customer_x",
            [f"{long}:str?", "x:api_keys?", "date_of_it:date", *(f"f{n}:text" for n in range(9))],
            model="Line",
            search=",".join(f"f{n}" for n in range(9)),
        ),
    )
    write_resource(package, wished("flags", ["is_on:bool"]))
    # A type of a body is named for its field, unless that name is taken.
    clashes = ["meta:str", "mapped:str", "date_2:str", "date2:str", "badge:text", "badge_read:str"]
    write_resource(package, wished("badges", clashes))

    for arguments in (("format", "--check"), ("check", "--no-cache")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "."],
            cwd=package.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("accounts", "saas.features.accounts import accounts\nfrom saas.features.admin"),
        ("receipts", "saas.features.receipts import receipts\nfrom saas.features.stats"),
        ("zebras", "saas.features.zebras import zebras\nfrom saas.identity"),
    ],
)
def test_import_is_put_into_its_sorted_place(name: str, after: str) -> None:
    source = registered(APP, name)

    assert f"from {after}" in source
    assert f"(projects, tasks, {name})\n" in source
    assert len(source.splitlines()) == len(APP.splitlines()) + 1


def test_list_of_resources_is_broken_as_the_formatter_does() -> None:
    source = APP
    for number in range(8):
        source = registered(source, f"resource_number_{number}_rows")

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "100", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "(\n    projects,\n    tasks,\n    resource_number_0_rows,\n" in source


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("invoices", "Invoice"),
        ("purchase_orders", "PurchaseOrder"),
        ("companies", "Company"),
        ("addresses", "Address"),
        ("boxes", "Box"),
        ("branches", "Branch"),
        ("dishes", "Dish"),
        ("expenses", "Expense"),
        ("quizzes", "Quizz"),
    ],
)
def test_class_is_the_singular_by_the_rule_of_the_page(name: str, model: str) -> None:
    assert singular(name) == model


FINE = ("name:str",)
RESERVED = ("id", "tenant_id", "version", "created_at", "updated_by", "deleted_at", "metadata")
PARAMETERS = (
    *("limit", "sort", "q", "or", "fields", "cursor", "offset", "deleted", "include_total"),
    "format",
)


@pytest.mark.parametrize(
    ("name", "fields", "options", "words"),
    [
        ("Invoices", FINE, {}, "snake_case"),
        ("in-voices", FINE, {}, "snake_case"),
        ("../invoices", FINE, {}, "snake_case"),
        ("_invoices", FINE, {}, "snake_case"),
        ("sales__orders", FINE, {}, "double underscore"),
        ("1nvoices", FINE, {}, "snake_case"),
        ("rechnungenäs", FINE, {}, "snake_case"),
        ("class", FINE, {}, "keyword of Python"),
        ("references", FINE, {"model": "Class2"}, "reserved word of SQL"),
        ("i" * 36 + "s", FINE, {}, "at most 36"),
        ("people", FINE, {}, "--model"),
        ("class_", FINE, {}, "snake_case"),
        ("glass", FINE, {}, "--model"),
        ("projects", FINE, {}, "a table projects already"),
        ("members", FINE, {}, "a table members already"),
        ("plans", FINE, {}, "a table plans already"),
        ("stats", FINE, {}, "stats"),
        ("audit", FINE, {"model": "Audit"}, "audit"),
        ("admin", FINE, {"model": "Admin"}, "routes"),
        ("imports", FINE, {}, "imports"),
        ("metrics", FINE, {}, "has a meaning in saas/app.py"),
        ("settings", FINE, {}, "has a meaning in saas/app.py"),
        ("invoices", FINE, {"model": "invoice"}, "class name"),
        ("invoices", FINE, {"model": "In voice"}, "class name"),
        ("invoices", FINE, {"model": "Project"}, "a class Project already"),
        ("invoices", FINE, {"model": "True"}, "class name"),
        ("dates", FINE, {}, "a class Date already"),
        ("resources", FINE, {}, "a class Resource already"),
        ("invoices", ("name",), {}, "name:type"),
        ("invoices", ("name:",), {}, "neither a type"),
        ("invoices", ("name:varchar",), {}, "neither a type"),
        ("invoices", ("name:str??",), {}, "neither a type"),
        ("invoices", (":str",), {}, "snake_case"),
        ("invoices", ("Name:str",), {}, "snake_case"),
        ("invoices", ("a__b:str",), {}, "double underscore"),
        ("invoices", ("class:str",), {}, "keyword of Python"),
        ("invoices", ("user:str",), {}, "reserved word of SQL"),
        ("invoices", ("a" * 31 + ":str",), {}, "at most 30"),
        ("invoices", ("name:str", "name:int"), {}, "twice"),
        ("invoices", ("project:projects", "project_id:uuid"), {}, "twice"),
        ("invoices", ("project_id:projects",), {}, "give project:projects"),
        ("invoices", ("order:orders",), {}, "neither a type"),
        ("invoices", ("tenant:tenants",), {}, "neither a type"),
        ("invoices", ("entry:audit_log",), {}, "neither a type"),
        *(
            ("invoices", (f"{field}:str",), {}, "is reserved")
            for field in [
                "id",
                "tenant_id",
                "version",
                "created_at",
                "updated_by",
                "deleted_at",
                "metadata",
            ]
        ),
        *(
            ("invoices", (f"{field}:str",), {}, "query parameter")
            for field in [
                "limit",
                "sort",
                "q",
                "or",
                "fields",
                "cursor",
                "offset",
                "deleted",
                "include_total",
            ]
        ),
        ("invoices", ("tenant:projects",), {}, "is reserved"),
        ("invoices", ("date:date?",), {}, "would hide"),
        ("invoices", ("str:str",), {}, "would hide"),
        ("invoices", FINE, {"search": "number"}, "no field number"),
        ("invoices", ("count_of_it:int",), {"search": "count_of_it"}, "no text"),
        ("invoices", FINE, {"natural_key": "number"}, "no field number"),
        ("invoices", FINE, {"natural_key": "name,name"}, "named twice"),
        ("invoices", ("name:str?",), {"natural_key": "name"}, "may be null"),
        ("invoices", ("extra:json",), {"natural_key": "extra"}, "is json"),
        ("i" * 35 + "s", ("a_name_of_12:str",), {"natural_key": "a_name_of_12"}, "characters"),
        ("i" * 35 + "s", ("a_name_of_12:projects",), {}, "characters"),
    ],
)
def test_refusal_is_one_line_and_leaves_everything_as_it_was(
    package: Path, name: str, fields: tuple[str, ...], options: dict[str, str], words: str
) -> None:
    shutil.copy(ROOT / "saas" / "features" / "stats.py", package / "features")
    shutil.copy(ROOT / "saas" / "features" / "audit.py", package / "features")
    before = files_below(package)

    with pytest.raises(ConfigurationError) as refusal:
        write_resource(package, wished(name, fields, **options))

    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert files_below(package) == before
    assert write_resource(package, wished("invoices", FINE)).exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(projects, tasks)", "(projects, tasks, *more())"),
        ("(projects, tasks)", "[projects, tasks]"),
        ("(projects, tasks)", "(\n    projects,  # the first\n    tasks,\n)"),
        ("RESOURCES: tuple[AnyResource, ...] =", "RESOURCES ="),
        ("# A product adds its resources here.", "RESOURCES: tuple[AnyResource, ...] = ()"),
        ("saas.features.", "saas.things."),
        ("def create_app(", "def create_app(("),
    ],
)
def test_unexpected_app_is_left_alone_and_the_refusal_says_what_to_add(
    package: Path, old: str, new: str
) -> None:
    app = package / "app.py"
    app.write_text(APP.replace(old, new))
    before = files_below(package)

    with pytest.raises(ConfigurationError) as refusal:
        write_resource(package, wished("invoices", FINE))

    assert "from saas.features.invoices import invoices" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert files_below(package) == before


def test_installed_package_is_no_place_to_write(package: Path) -> None:
    (package.parent / "alembic.ini").unlink()
    before = files_below(package)

    with pytest.raises(ConfigurationError, match="not a checkout"):
        write_resource(package, wished("invoices", FINE))

    assert files_below(package) == before


def test_file_that_is_there_is_never_written_over(package: Path) -> None:
    file = write_resource(package, wished("invoices", FINE))
    file.write_text("mine")
    before = files_below(package)

    with pytest.raises(ConfigurationError, match="is there already"):
        write_resource(package, wished("invoices", FINE))

    assert files_below(package) == before


def test_command_says_what_comes_next(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saas, "__file__", str(package / "__init__.py"))

    done = run("new", "resource", "invoices", "name:str")
    refused = run("new", "resource", "invoices", "name:float")
    fieldless = run("new", "resource", "invoices")

    assert fieldless.code == 2
    assert '.venv/bin/alembic revision --autogenerate -m "invoices"' in done.answer
    assert ".venv/bin/saas migrate\n  make test\n" in done.out
    assert refused.refusal.startswith("field name:float: 'float' is neither a type")
    assert (package / "features" / "invoices.py").exists()


def test_every_table_and_route_that_is_there_is_refused_as_a_name() -> None:
    for name in schema.metadata.tables:
        with pytest.raises(ConfigurationError, match="already"):
            wished(name, FINE)
