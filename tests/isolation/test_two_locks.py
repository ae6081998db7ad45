"""The two locks are independent: with either of them out the attacks still fail, with both of them
out they succeed, and the suite says so.

Each run is a suite of its own, in a process and on a PostgreSQL of its own; `isolation.locks` takes
the locks out.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from isolation.surface import (
    ROUTES_TO_ROWS,
    TENANT_ROUTES,
    Route,
)
from isolation.test_routes import TENANT_READINGS

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parents[1]
ATTACKS = ("test_routes.py", "test_resources.py")
# Plugins of pytest that would only cost time here.
_UNNEEDED = ("cacheprovider", "xdist", "logging", "randomly", "hypothesispytest")
_SECONDS = 240


class Run(NamedTuple):
    """The tests of one run by their outcome, and what was said of those that failed."""

    code: int
    passed: frozenset[str]
    failed: dict[str, str]
    broken: frozenset[str]


def run(lock: str, folder: Path) -> Run:
    report = folder / f"without-{lock}.xml"
    command = [sys.executable, "-m", "pytest", *(f"isolation/{name}" for name in ATTACKS)]
    options = ["-p", "isolation.locks", f"--without={lock}", f"--junitxml={report}"]
    # Plain assertions: a failure is expected and only counted, and to explain one takes pytest
    # minutes where it shows whole lists (it does where `CI` is set).
    options += ["--assert=plain", "--tb=line", "--show-capture=no"]
    options += [f"-pno:{name}" for name in _UNNEEDED]
    chosen = {name.partition("[")[0] for name in expected_to_notice() | expected_to_hold()}
    options += ["-k", f"({' or '.join(sorted(chosen))}) and not /v1/tasks and not [tasks]"]
    done = subprocess.run(
        [*command, *options],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return _read(report, done.returncode)


def _read(report: Path, code: int) -> Run:
    passed, failed, broken = set(), {}, set()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own report
        name = str(case.get("name"))
        failure = case.find("failure")
        if case.find("error") is not None or case.find("skipped") is not None:
            broken.add(name)
        elif failure is not None:
            failed[name] = str(failure.get("message"))
        else:
            passed.add(name)
    return Run(code, frozenset(passed), failed, frozenset(broken))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    folder = tmp_path_factory.mktemp("locks")
    locks = ("filter", "rls", "both")
    with ThreadPoolExecutor() as threads:
        yield dict(zip(locks, threads.map(lambda lock: run(lock, folder), locks), strict=True))


def _of(routes: Sequence[Route]) -> list[Route]:
    return [route for route in routes if not route.path.startswith("/v1/tasks")]


def expected_to_notice() -> set[str]:
    """The attacks that reach a foreign row where nothing is in the way."""
    ids = "test_an_id_of_another_tenant_is_as_absent_as_one_that_nobody_has"
    claims = "test_a_credential_that_claims_another_tenant_is_refused"
    growth = "test_no_answer_changes_by_what_another_tenant_does"
    operators = "test_no_operator_of_any_column_finds_or_counts_a_foreign_row"
    orders = "test_no_order_page_or_search_reaches_a_foreign_row"
    log = "test_the_audit_log_shows_nothing_of_another_tenants_rows"
    past = "test_the_past_of_a_foreign_row_is_as_absent_as_that_of_no_row"
    revert = "test_no_foreign_row_or_entry_is_the_aim_of_a_revert"
    return {
        # The aim of a revert has a test of its own.
        *(f"{ids}[{route}]" for route in _of(ROUTES_TO_ROWS) if not route.path.endswith("/revert")),
        *(f"{claims}[{route}]" for route in _of(TENANT_ROUTES) if route.method == "GET"),
        *(f"{growth}[{route}]" for route in _of(TENANT_READINGS) if route.is_generated),
        *(f"{growth}[GET /v1/{name}]" for name in OTHER_LISTS),
        *(
            f"{name}[{resource}]"
            for name in (operators, orders, log, past, revert)
            for resource in NAMES
        ),
    }


def expected_to_hold() -> set[str]:
    """What other locks hold: credentials, signatures, keys that start with the tenant."""
    return {
        *(
            f"test_a_credential_of_no_plane_or_the_other_is_refused[{r}]"
            for r in _of(TENANT_ROUTES)
        ),
        *(f"test_a_cursor_of_another_tenant_or_list_is_refused[{name}]" for name in NAMES),
        *(
            f"test_a_parent_of_another_tenant_is_refused_like_an_absent_or_deleted_one[{name}]"
            for name in NAMES
        ),
        *(f"test_every_protected_field_of_a_body_is_refused[{name}]" for name in NAMES),
        *(
            f"test_two_tenants_may_use_the_same_values_and_the_same_idempotency_key[{name}]"
            for name in NAMES
        ),
    }


# One resource of the two: what makes their routes is the same, and each run takes long.
NAMES = ("projects",)
OTHER_LISTS = ("audit", "stats", "members", "invitations", "api-keys")


@pytest.mark.parametrize("lock", ["filter", "rls"])
def test_either_lock_alone_holds_every_attack(lock: str, runs: dict[str, Run]) -> None:
    done = runs[lock]

    assert (done.code, done.failed, done.broken) == (0, {}, frozenset())
    assert expected_to_notice() | expected_to_hold() <= done.passed


def test_without_both_locks_the_attacks_succeed_and_are_noticed(runs: dict[str, Run]) -> None:
    done = runs["both"]

    assert done.code == pytest.ExitCode.TESTS_FAILED
    assert expected_to_notice() <= done.failed.keys()


def test_without_both_locks_the_product_still_serves_its_own_tenants(runs: dict[str, Run]) -> None:
    done = runs["both"]

    assert done.broken == frozenset()
    assert expected_to_hold() <= done.passed
    for name, message in done.failed.items():
        # An attack came through; neither the set-up nor the allowed control broke.
        assert message.startswith(("AssertionError", "assert")), name
        assert "allowed control" not in message, name


def test_every_run_made_the_same_attacks(runs: dict[str, Run]) -> None:
    made = {lock: done.passed | done.failed.keys() for lock, done in runs.items()}

    assert made["filter"] == made["rls"] == made["both"]
