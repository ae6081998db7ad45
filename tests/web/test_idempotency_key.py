"""What is derived from an Idempotency-Key: no two callers, routes or keys share any of it."""

from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag

from saas.web.idempotency_key import Claim, KeptAnswer, claim_of

SECRET = b"a secret of the suite, long enough"
CALLER = (uuid4().bytes, "platform:key", "/v1/projects/{id}/restore", [("id", "1")])
OTHERS = [
    ((uuid4().bytes, *CALLER[1:]), b"key", SECRET),
    ((CALLER[0], "platform:ops", *CALLER[2:]), b"key", SECRET),
    ((*CALLER[:2], "/v1/tasks/{id}/restore", CALLER[3]), b"key", SECRET),
    ((*CALLER[:3], [("id", "2")]), b"key", SECRET),
    (CALLER, b"Key", SECRET),
    (CALLER, b"key", SECRET + b"!"),
]


def derived(claim: Claim) -> set[object]:
    return {*claim, claim.mac(b"", b"{}")}


@pytest.mark.parametrize(("caller", "key", "secret"), OTHERS)
def test_claims_that_differ_in_anything_have_nothing_in_common(caller, key, secret) -> None:
    claim, other = claim_of([b"key"], CALLER, SECRET), claim_of([key], caller, secret)
    answer = KeptAnswer(201, [(b"etag", b'"1"')], b"{}")
    mac = claim.mac(b"", b"{}")
    sealed = claim.seal(answer, mac)

    assert claim == claim_of([b"key"], CALLER, SECRET)
    assert claim.open(sealed, mac) == answer
    assert derived(claim).isdisjoint(derived(other))
    with pytest.raises(InvalidTag):
        other.open(sealed, mac)


def test_answer_opens_for_its_own_request_alone() -> None:
    claim = claim_of([b"key"], CALLER, SECRET)
    answer = KeptAnswer(201, [], b"{}")
    mac = claim.mac(b"a=1", b"{}")
    sealed = claim.seal(answer, mac)

    assert claim.open(sealed, mac) == answer
    for query, body in ((b"a=2", b"{}"), (b"a=1", b"[]"), (b"", b"a=1{}"), (b"a=1{}", b"")):
        with pytest.raises(InvalidTag):
            claim.open(sealed, claim.mac(query, body))


def test_same_answer_is_sealed_differently_each_time() -> None:
    claim = claim_of([b"key"], CALLER, SECRET)
    answer, mac = KeptAnswer(201, [], b"{}"), claim.mac(b"", b"")

    assert claim.seal(answer, mac) != claim.seal(answer, mac)
