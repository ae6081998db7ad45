"""What `saas lint` knows of the product's repositories and ORM sessions."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from saas.dev.lint import faults_in

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
HEAD = """\
import sqlalchemy as sa
from sqlalchemy import create_engine, delete, exists, func, insert, select, text, union_all, update
from sqlalchemy.orm import Session, sessionmaker

from saas.db.orm import async_engine, async_sessions
from saas.db.repository import TenantRepository
from saas.db.sync import orm, repository
from saas.db.sync.orm import sync_engine, sync_sessions
from saas.tenancy.models import Member

Rows = repository.TenantRepository
plain = sessionmaker(create_engine(url))
engine = sync_engine(url)
sessions = sync_sessions(engine)


class Members(TenantRepository[Member, Read]):
    pass


class Few(Members): ...


"""
Lint = Callable[[str], list[str]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """The messages about a piece of Python below the imports."""

    def lint(code: str) -> list[str]:
        (tmp_path / "sample.py").write_text(HEAD + textwrap.dedent(code))
        return [fault.message for fault in faults_in([tmp_path / "sample.py"])]

    return lint


def in_session(code: str, opened: str = "sessions.begin()") -> str:
    return f"def work():\n    with {opened} as session:\n{textwrap.indent(code, ' ' * 8)}\n"


def test_project_of_the_page_is_clean(tmp_path: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(block)
    assert {file.name for file in tmp_path.rglob("*.py")} > {"service.py", "worker.py", "load.py"}

    assert faults_in([tmp_path / "shop"]) == []
    plain = (tmp_path / "shop" / "worker.py").read_text().replace("sync_engine(", "create_engine(")
    (tmp_path / "shop" / "worker.py").write_text(plain)
    assert [fault.message.split(":")[0] for fault in faults_in([tmp_path / "shop"])] == ["orders"]


@pytest.mark.parametrize(
    "code",
    [
        "rows = Members(Member, Read)\nrows.update(id, {'name': 'x'})\nrows.delete(id)",
        "rows = Few(Member, Read)\nrows.update(id, {'name': 'x'})",
        "rows = Rows(Member, Read)\nrows.update(id, {'name': 'x'})",
        "rows = repository.TenantRepository[Member, Read](Member, Read)\nrows.delete(id)",
        "def f(rows: TenantRepository[TenantModel, Read]): rows.update(id, {'name': 'x'})",
    ],
)
def test_repository_is_no_table(lint: Lint, code: str) -> None:
    assert lint(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "class Some(Member): ...\nrows = Some(Member)\nrows.delete(id)",
        "class Members: ...\nrows = Members(Member, Read)\nrows.delete(id)",
        "rows = Members(Member, Read)\nselect(rows.table)",
        "rows = Members(Member, Read)\nrows = Member.__table__\nrows.delete()",
        "class More(Members):\n    def all(self):\n        return select(Member)",
        "class More(Members):\n    def all(self):\n        return fetch(select(self.table))",
        "class More(Members):\n    SQL = 'SELECT id FROM members'",
    ],
)
def test_statement_beside_a_repository_is_looked_at(lint: Lint, code: str) -> None:
    assert lint(code)


def test_repositories_and_sessions_of_other_files_are_known(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "__init__.py").write_text("from .rows import Members as Exported\n")
    (shop / "rows.py").write_text(f"{HEAD}\nother = sync_sessions(create_engine(url))\n")
    (shop / "use.py").write_text(
        "import shop.rows\nfrom sqlalchemy import select\nfrom shop import Exported\n"
        "from saas.tenancy.models import Member\nfrom .rows import Few, sessions, other\n"
        "class One(Exported): ...\nclass Two(shop.rows.Few): ...\n"
        "one, two, three = One(Member), Two(Member), Few(Member)\n"
        "one.delete(id), two.delete(id), three.delete(id)\n"
        "with sessions.begin() as session: session.scalars(select(Member))\n"
        "with shop.rows.sessions() as again: again.scalars(select(Member))\n"
        "with other.begin() as unbound: unbound.scalars(select(Member))\n"
    )

    assert [fault.line for fault in faults_in([tmp_path])] == [12]
    assert [fault.line for fault in faults_in([shop / "use.py"])] == [9, 9, 10, 11, 12]


@pytest.mark.parametrize(
    "code",
    [
        "session.scalars(select(Member).where(Member.name == 'x')).all()",
        "session.execute(update(Member).values(name='x'))",
        "session.execute(delete(Member), execution_options={'deleted': 'include'})",
        "session.query(Member).filter(Member.id.in_(select(Member.id))).all()",
        "session.scalar(select(func.count()).select_from(select(Member).subquery()))",
        "session.scalar(select(exists().where(Member.id == id)))",
        "session.execute(union_all(select(Member), sa.select(Member)))",
        "query = select(Member)\nquery = query.where(Member.id == id)\nsession.scalars(query)",
        "inner = select(Member).subquery()\nsession.scalars(select(inner.c.id))",
    ],
)
@pytest.mark.parametrize(
    "opened", ["sessions.begin()", "sessions()", "orm.sync_sessions(orm.sync_engine(url))()"]
)
def test_statement_that_a_bound_session_runs_passes(lint: Lint, code: str, opened: str) -> None:
    assert lint(in_session(code, opened)) == []
    assert lint(in_session(code, "plain.begin()"))


def test_session_that_an_object_keeps_is_known(lint: Lint) -> None:
    code = """
        class Report:
            def __init__(self, url):
                self._sessions = async_sessions(async_engine(url))

            async def rows(self):
                async with self._sessions.begin() as session:
                    return await session.scalars(select(Member))
        """

    assert lint(code) == []
    assert lint(f"{textwrap.dedent(code)}\nReport(url)._sessions = plain\n")


@pytest.mark.parametrize(
    "code",
    [
        "connection.execute(select(Member))",
        "session.execute(select(Member), bind_arguments={'bind': other})",
        "session.execute(select(Member), **options)",
        "session.execute(insert(Member).values(name='x'))",
        "session.execute(text('SELECT id FROM members'))",
        "session.scalars(rows_of(select(Member)))",
        "session.scalars(select(Member).where(Member.id == connection.scalar(select(Member.id))))",
        "session.query(Member).with_session(other).all()",
        "query = select(Member)\nsession.scalars(query)\nconnection.execute(query)",
        "query = select(Member)\nsession.scalars(query)\nreturn query",
        "query = select(Member)",
        "global query\nquery = select(Member)\nsession.scalars(query)",
        "session = plain()\nsession.scalars(select(Member))",
        "session.bind = other\nsession.scalars(select(Member))",
        "sessions.configure(bind=other)\nsession.scalars(select(Member))",
        "for session in others: session.scalars(select(Member))",
        "def f(session): return session.scalars(select(Member))",
        "lambda session: session.scalars(select(Member))",
    ],
)
def test_statement_that_may_be_run_elsewhere_is_a_fault(lint: Lint, code: str) -> None:
    assert lint(in_session(code))


@pytest.mark.parametrize(
    "opened",
    [
        "plain()",
        "Session(engine)",
        "sessions(bind=other)",
        "sync_sessions(create_engine(url)).begin()",
        "sync_sessions(given).begin()",
        "async_sessions(engine, other).begin()",
        "sessions",
    ],
)
def test_session_on_other_connections_is_not_bound(lint: Lint, opened: str) -> None:
    assert lint(in_session("session.scalars(select(Member))", opened))


def test_query_of_a_module_is_looked_at_whoever_runs_it(lint: Lint) -> None:
    assert lint("query = select(Member)\n" + in_session("session.scalars(query)"))
