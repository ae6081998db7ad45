"""What every refusal has in common, checked in one place (RFC 9457)."""

from typing import Any

import httpx


def assert_refused(
    answer: httpx.Response, status: int, code: str, faults: dict[str, str] | None = None
) -> dict[str, Any]:
    """The problem document of `answer`. `faults` maps each pointer to its code, and is complete."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{code.replace('_', '-')}"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == answer.headers["x-request-id"]
    if faults is not None:
        assert {fault["pointer"]: fault["code"] for fault in problem["errors"]} == faults
        assert all(fault["message"] for fault in problem["errors"])
    return problem
