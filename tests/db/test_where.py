"""Conditions said in Python: the grammar's allow-list, with typed values."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from saas.db.query import Condition, SortKey
from saas.db.repository import TenantRepository
from saas.db.where import as_query, where
from saas.errors import BadRequest
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead

projects = TenantRepository(Project, ProjectRead, search=("name",))
tasks = TenantRepository(Task, TaskRead)
SOME = uuid4()


class DriverUUID(UUID):
    """As asyncpg gives it: a UUID by another class."""


def conditions(repository: Any, **given: Any) -> tuple[Condition, ...]:
    return as_query(where(**given), repository.grammar).conditions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"status": "todo"}, ("status", "eq", "todo")),
        ({"title": "a,b&c=%é"}, ("title", "eq", "a,b&c=%é")),
        ({"title__icontains": ""}, ("title", "icontains", "")),
        ({"priority__gte": 2}, ("priority", "gte", 2)),
        ({"priority__in": range(2)}, ("priority", "in", (0, 1))),
        ({"title__nin": ["a,b", "c"]}, ("title", "nin", ("a,b", "c"))),
        ({"title__in": []}, ("title", "in", ())),
        ({"project_id": SOME}, ("project_id", "eq", SOME)),
        ({"project_id": DriverUUID(str(SOME))}, ("project_id", "eq", SOME)),
        ({"due_on__lt": date(2027, 1, 31)}, ("due_on", "lt", date(2027, 1, 31))),
        ({"due_on": None}, ("due_on", "isnull", True)),
        ({"due_on__ne": None}, ("due_on", "isnull", False)),
        ({"assignee_id__isnull": False}, ("assignee_id", "isnull", False)),
        (
            {"created_at__gt": datetime(2027, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))},
            ("created_at", "gt", datetime(2027, 1, 1, tzinfo=UTC)),
        ),
    ],
)
def test_a_condition_keeps_the_value_of_its_column(given: Any, expected: Any) -> None:
    assert conditions(tasks, **given) == (Condition(*expected),)


def test_options_are_those_of_a_list() -> None:
    query = as_query(
        where(
            name="x",
            is_active=True,
            sort="-name,created_at",
            limit=7,
            offset=3,
            q="two words",
            deleted="include",
            include_total=True,
        ),
        projects.grammar,
    )

    assert query.conditions == (Condition("name", "eq", "x"), Condition("is_active", "eq", True))
    assert [key.column for key in query.sort] == ["name", "created_at", "id"]
    assert query.sort[0] == SortKey("name", True)
    assert (query.limit, query.offset, query.words) == (7, 3, ("two", "words"))
    assert (query.deleted, query.include_total) == ("include", True)
    assert as_query(None, projects.grammar) == as_query(where(), projects.grammar)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nmae": "x"}, "Unknown field. Allowed: .*name"),
        ({"tenant_id": SOME}, "Unknown field"),
        ({"deleted_at__gt": datetime.now(UTC)}, "Unknown field"),
        ({"name__almost": "x"}, "Unknown operator. Allowed: eq"),
        ({"is_active__like": True}, "Unknown operator. Allowed: eq, ne, lt"),
        ({"name": 7}, "Give a str, not a int"),
        ({"name": ["x"]}, "Give a str, not a list"),
        ({"name__in": "abc"}, "iterable"),
        ({"name__in": 3}, "iterable"),
        ({"budget_cents": "7"}, "Give a int, not a str"),
        ({"budget_cents": True}, "Give a int, not a bool"),
        ({"budget_cents__in": [1, None]}, "Give a int, not a NoneType"),
        ({"budget_cents": 2**63}, "Give an integer from"),
        ({"is_active": 1}, "Give a bool, not a int"),
        ({"name": "a\x00b"}, "cannot be stored"),
        ({"name__like": "a\\"}, "backslash"),
        ({"created_at": datetime(2027, 1, 1)}, "with its zone"),  # noqa: DTZ001 - what is refused
        ({"created_at": date(2027, 1, 1)}, "Give a datetime, not a date"),
        ({"description__isnull": "yes"}, "Give a bool"),
        ({"sort": "secret"}, "Unknown field 'secret'"),
        ({"sort": ["name", "secret"]}, "Unknown field 'secret'"),
        ({"fields": ("id", "nmae")}, "Unknown field 'nmae'"),
        ({"any_of": [("name", "x")]}, "Give the conditions as a dict"),
        ({"limit": 101}, "from 1 to 100"),
        ({"deleted": "maybe"}, "include, only or exclude"),
    ],
)
def test_a_wrong_name_type_or_range_is_refused_with_what_is_right(given: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        conditions(projects, **given)
    assert conditions(projects, name="x", budget_cents=7) != ()


def test_a_date_is_no_time() -> None:
    with pytest.raises(BadRequest, match="Give a date, not a datetime"):
        conditions(tasks, due_on=datetime.now(UTC))
