"""The sync data layer where the async one has no like: threads, and what they leave."""

import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest

from saas.context import Principal, acting_as
from saas.db.sync.database import Database
from saas.db.sync.repository import TenantRepository
from saas.db.sync.transaction import current_transaction, transaction
from saas.errors import Unbound
from saas.features.projects import Project, ProjectRead
from twins import someone


def test_threads_have_tenants_of_their_own(library: Any) -> None:
    projects: Any = TenantRepository(Project, ProjectRead)
    principals = [someone(str(number)) for number in range(8)]
    seen: dict[UUID, set[str]] = {}

    def work(principal: Principal) -> None:
        with acting_as(principal):
            for number in range(5):
                with transaction(database):
                    projects.create({"name": f"{principal.actor} {number}"})
            with transaction(database, read_only=True):
                seen[principal.tenant_id] = {row.created_by for row in projects.stream()}

    with Database(library.url("saas_app"), size=3) as database:
        threads = [threading.Thread(target=work, args=[one]) for one in principals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == {one.tenant_id: {one.actor} for one in principals}


def test_an_interrupted_transaction_leaves_no_place_taken(library: Any) -> None:
    with Database(library.url("saas_app"), size=1) as database, acting_as(someone()):
        for _ in range(3):
            with pytest.raises(psycopg.errors.SyntaxError), transaction(database) as work:
                work.fetch("SELEC 1")
        with transaction(database) as work:
            assert work.fetch("SELECT %(x)s::int AS x", {"x": 1})[0]["x"] == 1


def test_a_new_thread_acts_for_nobody(library: Any) -> None:
    refused: list[type[Exception]] = []

    def work() -> None:
        for question in (current_transaction, lambda: inner.fetch("SELECT 1")):
            try:
                question()
            except Unbound as error:
                refused.append(type(error))

    with (
        Database(library.url("saas_app"), size=1) as database,
        acting_as(someone()),
        transaction(database) as inner,
    ):
        assert inner.fetch("SELECT 1 AS one")[0]["one"] == 1
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert refused == [Unbound, Unbound]
