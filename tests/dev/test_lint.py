"""What `saas lint` finds in Python files: SQL in strings, and statements of SQLAlchemy."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import saas
from command_line import run
from saas.dev.lint import faults_in

HEAD = """\
import sqlalchemy as sa
from sqlalchemy import Table, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased

from saas.db.models import Base, TenantModel, table_of
from saas.db.statements import tenant_predicate, tenant_select
from saas.features.projects import Project as P, projects as resource
from saas.tenancy.models import ApiKeyRow, Member, Tenant

_keys, _members, _tenants = table_of(ApiKeyRow), table_of(Member), table_of(Tenant)
_projects = P.__table__
Other = aliased(Member)


class Invoice(TenantModel):
    __tablename__ = "invoices"


"""
Lint = Callable[[str], list[str]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """The messages about a piece of Python below the imports."""

    def lint(code: str) -> list[str]:
        file = tmp_path / "sample.py"
        file.write_text(HEAD + textwrap.dedent(code))
        return [fault.message for fault in faults_in([file])]

    return lint


@pytest.mark.parametrize(
    "code",
    [
        "select(Member).where(tenant_predicate(_members), Member.name == 'x')",
        "select(_members.c.id).where(_members.c.tenant_id == tenant_id)",
        "select(Member).where(principal.tenant_id == Member.tenant_id)",
        "select(Member).where(Member.tenant_id == bindparam('tenant_id'))",
        "select(Member.id).where(and_(tenant_predicate(_members), or_(a, b)))",
        "select(Member.id).where((Member.tenant_id == t) & (Member.name == 'x')).limit(1)",
        "select(func.count()).select_from(_members).where(tenant_predicate(_members))",
        "rows = TenantRepository(Member, Read)\nrows.update(id, values)\nrows.delete(id)",
        "select(Member, P).join(P, P.tenant_id == Member.tenant_id).where(Member.tenant_id == t)",
        "select(Member).outerjoin(P, tenant_predicate(P)).where(tenant_predicate(Member))",
        "select(Other).where(tenant_predicate(Other))",
        "select(Member).where(tenant_predicate(Member), Member.id.in_(select(P.id).where("
        "tenant_predicate(P), P.created_by == Member.name)))",
        "tenant_select(Member).join(P, P.id == Member.id)",
        "select(Tenant).where(Tenant.id == bindparam('id'))",
        "select(_tenants.c.id)",
        "select(func.now())",
        "update(Member).where(tenant_predicate(Member)).values(name='x')",
        "delete(_members).where(tenant_predicate(_members))",
        "insert(Member).values(tenant_id=t, name='x')",
        "insert(_tenants).values(slug='x')",
        "upsert(Member).values([{'tenant_id': t}, {'tenant_id': u}])",
        "session.query(Member).filter(Member.tenant_id == t).all()",
        "session.query(Member).filter_by(tenant_id=t).all()",
        "with_tenant(select(Member.id), 1).where(tenant_predicate(Member))",
        "def f(table: Table): return select(table.c.id).where(tenant_predicate(table))",
        "rows = select(Member).where(tenant_predicate(Member)).subquery()\nselect(rows.c.id)",
        "client.delete(Member)",
        "registry.update(a=Member)",
    ],
)
def test_statement_with_the_predicate_of_its_table_passes(lint: Lint, code: str) -> None:
    assert lint(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "select(Member)",
        "sa.select(Member.id)",
        "select(_members)",
        "select(_members.c.id).limit(1)",
        "select(P.tenant_id)",
        "select(Invoice)",
        "select(func.count(Member.id))",
        "select(func.count()).select_from(Member)",
        "select(*(_members.c[name] for name in names))",
        "columns = [_members.c.id]\nselect(*columns)",
        "select(resource.repository.table)",
        "select(Base.metadata.tables['projects'])",
        "select(Base.metadata.tables[name])",
        "select(Member).where(Member.id == 1)",
        "select(Member).where(or_(tenant_predicate(_members), Member.id == 1))",
        "select(Member).where(tenant_predicate(_members) | (Member.id == 1))",
        "select(Member).where(~tenant_predicate(_members))",
        "select(Member).where(not_(tenant_predicate(_members)))",
        "select(Member).where(Member.tenant_id != tenant_id)",
        "select(Member).where(Member.tenant_id == Member.tenant_id)",
        "select(Member).where(Member.tenant_id == 'a literal')",
        "select(Member).where(Member.tenant_id == func.coalesce(t, Member.tenant_id))",
        "select(Member).where(Member.tenant_id == Tenant.id)",
        "select(Member).where(Member.tenant_id.is_not(None))",
        "select(Member).where(tenant_predicate(_keys))",
        "select(Other).where(tenant_predicate(Member))",
        "select(Member, Other).where(tenant_predicate(Member), Other.id == Member.id)",
        "select(Member).order_by(tenant_predicate(_members))",
        "select(Member, tenant_predicate(_members))",
        "select(Member).having(tenant_predicate(_members))",
        "select(Member).join(P, P.id == Member.id).where(tenant_predicate(Member))",
        "select(Member).join(P).where(tenant_predicate(Member))",
        "select(Member).outerjoin(P, P.tenant_id == Member.tenant_id)",
        "select(Member).outerjoin(P, and_(tenant_predicate(P), tenant_predicate(Member)))",
        "select(Member).join(P, tenant_predicate(Member) & tenant_predicate(P), isouter=True)",
        "select(Member).join(P, tenant_predicate(P), full=True).where(tenant_predicate(Member))",
        "select(Member).where(tenant_predicate(Member), P.created_by == Member.name)",
        "select(Member).where(tenant_predicate(Member), Member.id.in_(select(P.id)))",
        "select(Member).where(Member.id.in_(select(Member.id).where(tenant_predicate(Member))))",
        "select(Member), select(Member).where(tenant_predicate(Member))",
        "wanted = select(Member)\nwanted = wanted.where(tenant_predicate(Member))",
        "union_all(select(Member), select(P).where(tenant_predicate(P)))",
        "select(Member).where(\n    # tenant_predicate(Member)\n    Member.id == 1)",
        "update(Member).values(tenant_id=t)",
        "update(Member).where(Member.id == 1).values(name='x')",
        "delete(Member)",
        "delete(P).where(tenant_predicate(Member))",
        "insert(Member).values(name='x')",
        "insert(Member)",
        "upsert(Member).values([{'tenant_id': t}, {'name': 'x'}])",
        "insert(Member).values(tenant_id='a literal')",
        "insert(Member).values(rows)",
        "_members.delete()",
        "Member.__table__.select()",
        "session.query(Member).all()",
        "session.query(Member.id).filter_by(name='x')",
        "def f(table: Table): return select(table)",
        "def f(model: type[TenantModel]): return delete(model)",
        "def f(anything): return select(anything)",
        "mine = Member\nselect(mine)",
        "exists_one = sa.exists().where(Member.id == 1)",
    ],
)
def test_statement_without_the_predicate_of_its_table_is_a_fault(lint: Lint, code: str) -> None:
    assert lint(code)


@pytest.mark.parametrize(
    "code",
    [
        "fetch('SELECT id FROM projects WHERE tenant_id = $1')",
        "f'SELECT {columns} FROM projects WHERE tenant_id = $1 ORDER BY {order}'",
        "f'SELECT id FROM projects WHERE tenant_id = ${number} AND ({condition})'",
        "sql = 'SELECT id FROM projects ' 'WHERE tenant_id = $1'",
        "'SELECT id FROM projects ' + 'WHERE tenant_id = $1'",
        "TABLE = 'projects'\nf'SELECT id FROM {TABLE} WHERE tenant_id = $1'",
        "text('SELECT id FROM invoices WHERE tenant_id = :tenant_id')",
        "fetch('SELECT slug FROM tenants')",
        "summary = 'Delete one of projects'",
        "summary = 'Select projects from a list'",
        "def f():\n    'SELECT id FROM projects'",
        "sql = 'CREATE POLICY p ON projects USING (true)'",
    ],
)
def test_text_that_is_bound_or_no_statement_passes(lint: Lint, code: str) -> None:
    assert lint(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "fetch('SELECT id FROM projects')",
        "anything = 'select id from projects'",
        "sql = '''\n-- of the tenant\nSELECT id FROM projects'''",
        "sql = 'SELECT id FROM projects ' 'WHERE id = $1'",
        "'SELECT id FROM projects ' + where",
        "'SELECT id FROM projects' + where",
        "f'SELECT id FROM projects {where}'",
        "f'SELECT id FROM projects{where}'",
        "f'SELECT id FROM projects WHERE tenant_id = {tenant_id}'",
        "f'SELECT id FROM projects WHERE tenant_id = $1 {more}'",
        "f'SELECT id FROM projects WHERE tenant_id = $1 AND {more}'",
        "f'SELECT id FROM projects {join} WHERE tenant_id = $1'",
        "'SELECT id FROM projects WHERE tenant_id = %s' % tenant_id",
        "'SELECT id FROM projects WHERE tenant_id = {}'.format(tenant_id)",
        "'SELECT id FROM projects WHERE tenant_id = {0!r}'.format(tenant_id)",
        "TABLE = 'projects'\nf'SELECT id FROM {TABLE}'",
        "TABLE = 'projects'\n'SELECT id FROM ' + TABLE",
        "sql = 'SELECT id'\nsql += ' FROM projects'",
        "run(f'{\"SELECT id FROM projects\"} LIMIT 1')",
        "execute(text('TRUNCATE projects'))",
        "select(func.count()).select_from(text('projects'))",
        "select(func.count()).select_from(sa.table('projects'))",
        "execute(b'SELECT id FROM projects')",
        "text(text='SELECT id FROM invoices')",
        "sql = 'SELECT id FROM plans WHERE tenant_id = $1; SELECT id FROM projects'",
        "f(a=['x', {'y': 'DELETE FROM projects'}])",
        "fetch('projects WHERE (')",
    ],
)
def test_sql_in_a_string_that_is_not_bound_is_a_fault(lint: Lint, code: str) -> None:
    assert lint(code)


@pytest.mark.parametrize(
    "terms",
    [
        ['"a"', "x"] * 150,
        ["x", "y"] * 150,
        ["x", '"a"'] * 149 + ["x", '"SELECT id FROM projects"'],
    ],
)
def test_sum_of_hundreds_of_terms_is_one_text(lint: Lint, terms: list[str]) -> None:
    is_fault = "projects" in terms[-1]

    assert bool(lint(f"q = {' + '.join(terms)}")) is is_fault
    assert lint(f"q = {' + '.join([*terms, '(select(Member))'])}")


@pytest.mark.parametrize(
    ("code", "is_excused"),
    [
        ("select(Member)  # unscoped: the operator counts all", True),
        ("# unscoped: the operator counts all\nselect(Member)", True),
        ("select(\n    Member,  # unscoped: the operator counts all\n)", True),
        ("x = '''\nSELECT 1 FROM projects\n'''  # unscoped: the operator counts all", True),
        ("select(Member)  # unscoped:", False),
        ("select(Member)  # unscoped", False),
        ("select(Member)  # scoped: no", False),
        ("select(Member, '# unscoped: in a text')", False),
        ("x = '''\nSELECT 1 FROM projects -- # unscoped: in a text\n'''", False),
        ("y = 1  # unscoped: of another line\nselect(Member)", False),
        ("select(Member)\n# unscoped: of the line below", False),
        ("# unscoped: two lines above\n\nselect(Member)", False),
        ("if x:  # unscoped: of the header\n    select(Member)\n    select(P)", False),
        ("def f():  # unscoped: of the header\n    return select(Member)", False),
    ],
)
def test_escape_needs_a_reason_and_its_own_statement(
    lint: Lint, code: str, is_excused: bool
) -> None:
    assert (lint(code) == []) is is_excused


def test_tables_of_the_files_are_known_whatever_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("SQL = 'SELECT id FROM parts'\n")
    (tmp_path / "b.py").write_text("class Part(Base0):\n    __tablename__ = 'parts'\n")
    (tmp_path / "c.py").write_text("class Base0(TenantModel):\n    __abstract__ = True\n")

    assert [str(fault) for fault in faults_in([tmp_path])] == [
        f"{tmp_path}/a.py:1: parts: no tenant_id = <parameter> in the conditions of its own SELECT"
    ]


@pytest.mark.long  # `make check` lints the package too.
def test_package_itself_is_clean() -> None:
    assert faults_in([Path(str(saas.__file__)).parent]) == []


def test_command_prints_a_line_per_fault_and_fails(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("SQL = 'SELECT id FROM projects WHERE tenant_id = $1'\n")
    bad.write_text("\nSQL = 'SELECT id FROM projects'\n")
    (tmp_path / "broken.py").write_text("def\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001.py").write_text("SQL = 'DELETE FROM projects'\n")

    paths = (good, bad, tmp_path, tmp_path / "absent.py")
    ran = [run("lint", str(path)) for path in paths]

    assert [one.code for one in ran] == [0, 1, 1, 2]
    lines = [line for one in ran for line in one.out.splitlines()]
    assert [line.partition(" ")[0] for line in lines] == [
        f"{bad}:2:",
        f"{bad}:2:",
        f"{tmp_path}/broken.py:1:",
    ]
    assert [one.err for one in ran[:-1]] == ["", "", ""]
    assert ran[-1].refusal == f"there is no {tmp_path}/absent.py"
