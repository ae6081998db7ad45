"""Rows with something to find for every operator, and how to ask for them."""

from typing import Any

PROJECTS: dict[str, dict[str, Any]] = {
    "Alpha": {"description": "50% off_now", "budget_cents": 100},
    "alpha beta": {"is_active": False},
    "Beta%": {"description": "5000 off now", "budget_cents": 200},
    "beta_x": {"description": "C:\\temp", "budget_cents": -300, "is_active": False},
    "Ünder": {"description": "alpha, in the end", "budget_cents": 200},
}
TASKS: dict[str, dict[str, Any]] = {
    "a": {"status": "todo", "priority": 0, "due_on": "2026-01-31"},
    "b": {"status": "doing", "priority": 4, "due_on": "2026-02-01"},
    "c": {"status": "done", "priority": 2},
}


async def stocked(onboard: Any) -> Any:
    """A tenant with all of the rows above, beside one with rows that must never show."""
    tenant, stranger = await onboard(), await onboard()
    for caller in (tenant, stranger):
        for name, values in PROJECTS.items():
            project = await caller.create("projects", name=name, **values)
        for title, values in TASKS.items():
            await caller.create("tasks", project_id=project["id"], title=title, **values)
    return tenant


async def found(caller: Any, resource: str, query: str) -> set[str]:
    """The names of the rows on the first page."""
    answer = await caller.get(f"/v1/{resource}?{query}")
    assert answer.status_code == 200, answer.text
    return {row.get("name", row.get("title")) for row in answer.json()["items"]}
