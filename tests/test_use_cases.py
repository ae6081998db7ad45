"""Every block of docs/use-cases.md, run on a tenant of its own."""

import ast
import re
from inspect import CO_COROUTINE
from pathlib import Path
from types import FunctionType
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func

from saas.context import acting_as, tenant_principal
from saas.db.batch_items import BatchItem
from saas.db.database import Database
from saas.db.repository import TenantRepository
from saas.db.tenant_select import fetch_all, tenant_select
from saas.db.transaction import Transaction
from saas.db.where import where
from saas.features.projects import Project, ProjectRead, projects
from saas.features.tasks import Task, tasks
from saas.settings import Settings

PAGE = (Path(__file__).parents[1] / "docs" / "use-cases.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^\*\*(.+?)\*\*.*?^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMES: dict[str, Any] = {
    "BatchItem": BatchItem,
    "Project": Project,
    "ProjectRead": ProjectRead,
    "Task": Task,
    "TenantRepository": TenantRepository,
    "fetch_all": fetch_all,
    "func": func,
    "projects": projects.repository,
    "tasks": tasks.repository,
    "tenant_select": tenant_select,
    "uuid4": uuid4,
    "where": where,
}


@pytest.mark.parametrize("source", [block[1] for block in BLOCKS], ids=[b[0] for b in BLOCKS])
async def test_block_of_the_page_runs(source: str, settings: Settings) -> None:
    code = compile(source, "use-cases.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert code.co_flags & CO_COROUTINE, "nothing is awaited, so nothing would run"

    async with Database(str(settings.database_url), size=1) as database:
        with acting_as(tenant_principal(uuid4(), job="use-cases")):
            # Undone at the end: other tests count rows.
            async with Transaction(database.app):
                await FunctionType(code, dict(NAMES))()


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == PAGE.count("```python") > 5
