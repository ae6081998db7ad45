"""A migration with its source, map and files, to be run as often as a test wants."""

import csv
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine

from saas.app import RESOURCES
from saas.db.database import Database
from saas.legacy.bad_rows import BadRows
from saas.legacy.checkpoint import CheckpointFile, opened_checkpoint
from saas.legacy.map import Map
from saas.legacy.migration import Migration, TableOutcome, migrate
from saas.legacy.plan import TablePlan, planned
from saas.tenancy.standing import require_active_tenant

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT, full_name TEXT, active TEXT);"
USERS_MAP = {
    "source": "users",
    "key": "id",
    "resource": "projects",
    "columns": {
        "name": {"from": "username", "strip": True, "lower": True},
        "description": "full_name",
        "is_active": {"from": "active", "values": {"Y": True, "N": False}, "default": True},
    },
}


def users(count: int) -> list[tuple[Any, ...]]:
    return [(n, f" User{n} ", f"Full {n}", "Y" if n % 2 else None) for n in range(1, count + 1)]


def plans_of(engine: Engine, *tables: Any) -> list[TablePlan]:
    map = msgspec.convert({"table": list(tables)}, Map)
    return planned(map, engine, {resource.name: resource for resource in RESOURCES})


class Job:
    """Each `run` is what a new process would do."""

    def __init__(self, database: Database, engine: Engine, folder: Path, *tables: Any) -> None:
        self._database = database
        self._engine = engine
        self._tables = tables
        self.checkpoint = folder / "checkpoint.json"
        self.errors = folder / "errors.csv"

    async def run(
        self,
        crashing: type[CheckpointFile] = CheckpointFile,
        *,
        batch_rows: int = 4,
        is_dry: bool = False,
    ) -> list[TableOutcome]:
        bad_rows = BadRows(self.errors)
        try:
            with opened_checkpoint(self.checkpoint, "test", restart=False) as checkpoint:
                checkpoint.__class__ = crashing
                migration = Migration(
                    self._database,
                    plans_of(self._engine, *self._tables),
                    bad_rows,
                    None if is_dry else checkpoint,
                    check=require_active_tenant,
                    tell=lambda _: None,
                    batch_rows=batch_rows,
                )
                return await migrate(migration)
        finally:
            bad_rows.close()

    def bad(self) -> list[dict[str, str]]:
        with self.errors.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


async def rows_of(tenant: Any, resource: str) -> list[dict[str, Any]]:
    answer = await tenant.get(f"/v1/{resource}/export?format=jsonl&sort=created_at,id")
    return [msgspec.json.decode(line) for line in answer.text.splitlines()]
