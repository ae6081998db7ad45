"""What a list shows: filters for each type of column, search, and the rows that are deleted."""

import pytest
from refusals import assert_refused
from shelves import PROJECTS, TASKS, found, stocked


@pytest.fixture(scope="module")
async def shelf(onboard):
    return await stocked(onboard)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {*PROJECTS}),
        ("name=Alpha", {"Alpha"}),
        ("name__eq=%C3%9Cnder", {"Ünder"}),
        ("name=", set()),
        ("name__ne=Alpha", {*PROJECTS} - {"Alpha"}),
        ("name__lt=Beta%25", {"Alpha"}),
        ("name__lte=Beta%25", {"Alpha", "Beta%"}),
        ("name__gt=alpha%20beta", {"beta_x", "Ünder"}),
        ("name__gte=alpha+beta", {"alpha beta", "beta_x", "Ünder"}),
        ("name__in=Alpha,beta_x,None", {"Alpha", "beta_x"}),
        ("name__nin=Alpha,beta_x", {"alpha beta", "Beta%", "Ünder"}),
        ("name__like=%25eta%25", {"alpha beta", "Beta%", "beta_x"}),
        ("name__like=A____", {"Alpha"}),
        ("name__like=beta%5C_x", {"beta_x"}),
        ("name__like=alpha", set()),
        ("name__ilike=ALPHA%25", {"Alpha", "alpha beta"}),
        ("name__ilike=%C3%BCNDER", {"Ünder"}),
        ("name__contains=eta", {"alpha beta", "Beta%", "beta_x"}),
        ("name__contains=ETA", set()),
        ("name__contains=%25", {"Beta%"}),
        ("name__contains=_", {"beta_x"}),
        ("name__icontains=BETA", {"alpha beta", "Beta%", "beta_x"}),
        ("name__icontains=A%25", {"Beta%"}),
        ("name__startswith=beta", {"beta_x"}),
        ("name__startswith=Beta%25", {"Beta%"}),
        ("name__startswith=%25", set()),
        ("description__contains=%5C", {"beta_x"}),
        ("description__isnull=true", {"alpha beta"}),
        ("description__isnull=false", {*PROJECTS} - {"alpha beta"}),
        ("description__ne=x", {*PROJECTS} - {"alpha beta"}),
        ("description__nin=x,y", {*PROJECTS} - {"alpha beta"}),
        ("is_active=true", {"Alpha", "Beta%", "Ünder"}),
        ("is_active__eq=false", {"alpha beta", "beta_x"}),
        ("is_active__ne=true", {"alpha beta", "beta_x"}),
        ("budget_cents=200", {"Beta%", "Ünder"}),
        ("budget_cents__ne=200", {"Alpha", "beta_x"}),
        ("budget_cents__lt=100", {"beta_x"}),
        ("budget_cents__lte=100", {"Alpha", "beta_x"}),
        ("budget_cents__gt=-300", {"Alpha", "Beta%", "Ünder"}),
        ("budget_cents__gte=-9223372036854775808", {*PROJECTS} - {"alpha beta"}),
        ("budget_cents__in=100,-300", {"Alpha", "beta_x"}),
        ("budget_cents__nin=200", {"Alpha", "beta_x"}),
        ("budget_cents__isnull=true", {"alpha beta"}),
        ("name__isnull=true", set()),
        ("is_active__in=true,false&name__isnull=false", {*PROJECTS}),
        ("budget_cents__gte=100&budget_cents__lt=200", {"Alpha"}),
        ("name__contains=eta&is_active=false&budget_cents__isnull=true", {"alpha beta"}),
        ("version=1", {*PROJECTS}),
        ("version__gt=1", set()),
    ],
)
async def test_filter_on_projects_finds_its_rows(shelf, query, names):
    assert await found(shelf, "projects", query) == names


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("status=todo", {"a"}),
        ("status__in=todo,done", {"a", "c"}),
        ("status__ne=done", {"a", "b"}),
        ("priority=4", {"b"}),
        ("priority__gte=2", {"b", "c"}),
        ("priority__nin=0,2", {"b"}),
        ("due_on=2026-01-31", {"a"}),
        ("due_on__gt=2026-01-31", {"b"}),
        ("due_on__lte=2026-02-01", {"a", "b"}),
        ("due_on__in=2026-02-01,2026-02-02", {"b"}),
        ("due_on__nin=2026-02-01", {"a"}),
        ("due_on__isnull=true", {"c"}),
        ("assignee_id__isnull=true", {"a", "b", "c"}),
    ],
)
async def test_filter_on_tasks_finds_its_rows(shelf, query, titles):
    assert await found(shelf, "tasks", query) == titles


async def test_ids_times_and_authors_can_be_filtered(shelf):
    rows = (await shelf.get("/v1/projects?sort=created_at")).json()["items"]
    first, second = rows[0], rows[1]
    time = second["created_at"]
    with_offset = time.replace("Z", "%2B00:00")
    author = first["created_by"]
    tasks = {*TASKS}

    assert await found(shelf, "projects", f"id={first['id']}") == {"Alpha"}
    assert await found(shelf, "projects", f"id__in={first['id']},{second['id']}") == {
        "Alpha",
        "alpha beta",
    }
    assert await found(shelf, "projects", f"id__gt={rows[3]['id']}") == {"Ünder"}
    assert await found(shelf, "projects", f"created_at__lt={time}") == {"Alpha"}
    assert await found(shelf, "projects", f"created_at={with_offset}") == {"alpha beta"}
    assert await found(shelf, "projects", f"updated_at__gte={time}") == {*PROJECTS} - {"Alpha"}
    assert await found(shelf, "projects", f"created_by={author}") == {*PROJECTS}
    assert await found(shelf, "projects", f"updated_by__ne={author}") == set()
    assert await found(shelf, "tasks", f"project_id={rows[4]['id']}") == tasks
    assert await found(shelf, "tasks", f"project_id__nin={rows[4]['id']}") == set()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=alpha", {"Alpha", "alpha beta", "Ünder"}),
        ("q=ALPHA", {"Alpha", "alpha beta", "Ünder"}),
        ("q=alpha+beta", {"alpha beta"}),
        ("q=beta%20%20ALPHA", {"alpha beta"}),
        ("q=under", set()),
        ("q=%C3%BCnder+end", {"Ünder"}),
        ("q=50%25", {"Alpha"}),
        ("q=%25", {"Alpha", "Beta%"}),
        ("q=_", {"Alpha", "beta_x"}),
        ("q=off_now", {"Alpha"}),
        ("q=c:%5Ctemp", {"beta_x"}),
        ("q=alpha&is_active=false", {"alpha beta"}),
        ("q=", {*PROJECTS}),
        ("q=+", {*PROJECTS}),
    ],
)
async def test_search_finds_all_words_literally_in_any_case(shelf, query, names):
    assert await found(shelf, "projects", query) == names


@pytest.mark.parametrize(
    ("query", "parameter", "allowed"),
    [
        ("colour=red", "colour", "id, name, description, is_active, budget_cents, version"),
        ("tenant_id=x", "tenant_id", "id, name"),
        ("deleted_at__isnull=true", "deleted_at__isnull", "id, name"),
        ("=x", "", "id, name"),
        ("NAME=x", "NAME", "id, name"),
        ("name__regex=x", "name__regex", "eq, ne, lt, lte, gt, gte, in, nin, like, ilike"),
        ("budget_cents__like=1", "budget_cents__like", "eq, ne, lt, lte, gt, gte, in, nin, isnull"),
        ("id__contains=0", "id__contains", "eq, ne, lt"),
        ("is_active=1", "is_active", "true or false"),
        ("is_active=", "is_active", "true or false"),
        ("description__isnull=no", "description__isnull", "true or false"),
        ("budget_cents=", "budget_cents", "integer"),
        ("budget_cents=1.0", "budget_cents", "integer"),
        ("budget_cents=1_000", "budget_cents", "integer"),
        ("budget_cents=%D9%A3", "budget_cents", "integer"),
        ("budget_cents=9223372036854775808", "budget_cents", "9223372036854775807"),
        ("budget_cents__in=1,,2", "budget_cents__in", "integer"),
        ("version=2147483648", "version", "2147483647"),
        ("id=x", "id", "UUID"),
        ("id__in=", "id__in", "UUID"),
        ("created_at=2026-01-31", "created_at", "RFC 3339"),
        ("created_at__gte=2026-01-31T09:00:00", "created_at__gte", "offset"),
        ("created_at__gte=2026-02-30T09:00:00Z", "created_at__gte", "RFC 3339"),
        ("created_at__gte=infinity", "created_at__gte", "RFC 3339"),
        ("name=%00", "name", "cannot be stored"),
        ("name__like=%00", "name__like", "cannot be stored"),
        ("q=a%00", "q", "cannot be stored"),
        ("q=" + "w+" * 11, "q", "10"),
        ("name__in=" + "x," * 100, "name__in", "100"),
        ("deleted=all", "deleted", "include, only"),
        ("limit=0", "limit", "1 to 100"),
        ("limit=101", "limit", "1 to 100"),
        ("limit=ten", "limit", "1 to 100"),
        ("limit=1&limit=1", "limit", "once"),
        ("offset=-1", "offset", "integer from 0"),
        ("offset=9223372036854775808", "offset", "integer from 0"),
        ("include_total=1", "include_total", "true or false"),
        ("sort=colour", "sort", "id, name"),
        ("sort=", "sort", "id, name"),
        ("sort=--name", "sort", "id, name"),
        ("sort=name,", "sort", "id, name"),
        ("sort=tenant_id", "sort", "id, name"),
        ("sort=name,-name", "sort", "once"),
        ("sort=name&sort=id", "sort", "once"),
    ],
)
async def test_query_that_is_not_allowed_is_refused_naming_what_is(
    shelf, query, parameter, allowed
):
    refused = await shelf.get(f"/v1/projects?{query}")

    problem = assert_refused(refused, 400, "bad_request", {f"/{parameter}": "bad_parameter"})
    assert repr(parameter) in problem["detail"]
    assert allowed in problem["detail"]


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("due_on=2026-02-30", "date"),
        ("due_on__gte=2026-01-31T00:00:00Z", "date"),
        ("due_on=20260131", "date"),
        ("priority=32768", "-32768 to 32767"),
        ("assignee_id=ada", "UUID"),
        ("name=x", "title, status, priority"),
    ],
)
async def test_query_on_tasks_is_checked_by_the_columns_of_tasks(shelf, query, allowed):
    refused = await shelf.get(f"/v1/tasks?{query}")

    assert allowed in assert_refused(refused, 400, "bad_request")["detail"]


async def test_number_of_filters_and_parameters_is_limited(shelf):
    most = "&".join(["name=Alpha"] * 50)

    taken = await shelf.get(f"/v1/projects?{most}")
    refused = await shelf.get(f"/v1/projects?{most}&name=Alpha")
    refused_early = await shelf.get(f"/v1/projects?{most}&{most}&limit=1")

    assert [row["name"] for row in taken.json()["items"]] == ["Alpha"]
    assert "50" in assert_refused(refused, 400, "bad_request")["detail"]
    assert_refused(refused_early, 400, "bad_request")


async def test_query_that_is_no_utf8_is_refused(shelf):
    assert_refused(await shelf.get("/v1/projects?name=%FF"), 400, "bad_request")


async def test_pointer_to_a_parameter_is_escaped(shelf):
    refused = await shelf.get("/v1/projects?a/b~c=x")

    assert_refused(refused, 400, "bad_request", {"/a~1b~0c": "bad_parameter"})


async def test_deleted_rows_are_shown_only_when_asked_for(tenant):
    for name in ("Live", "Gone", "Gone too"):
        row = await tenant.create("projects", name=name)
        if name != "Live":
            await tenant.delete(f"/v1/projects/{row['id']}")

    assert await found(tenant, "projects", "") == {"Live"}
    assert await found(tenant, "projects", "deleted=exclude") == {"Live"}
    assert await found(tenant, "projects", "deleted=include") == {"Live", "Gone", "Gone too"}
    assert await found(tenant, "projects", "deleted=only") == {"Gone", "Gone too"}
    assert await found(tenant, "projects", "deleted=only&q=too") == {"Gone too"}
    assert await found(tenant, "projects", "deleted=include&name=Gone") == {"Gone"}
