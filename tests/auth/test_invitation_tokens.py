"""The token of an invitation: genuine, or nothing."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.auth.invitation_tokens import InvitationTokens, Offer

SECRET = b"a secret of 32 bytes or some more"
OFFER = Offer(uuid4(), uuid4(), datetime(2030, 1, 31, 9, tzinfo=UTC))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_token_tells_what_it_was_made_of() -> None:
    tokens = InvitationTokens(SECRET)

    assert tokens.read(tokens.issue(OFFER)) == OFFER


def test_token_by_another_secret_is_none() -> None:
    ours, theirs = InvitationTokens(SECRET), InvitationTokens(b"another secret of 32 bytes or more")

    assert ours.read(theirs.issue(OFFER)) is None
    assert ours.read(ours.issue(OFFER)) == OFFER


@given(place=st.integers(4, 99), sign=st.sampled_from(ALPHABET))
def test_no_other_sign_in_any_place_is_genuine(place: int, sign: str) -> None:
    tokens = InvitationTokens(SECRET)
    token = tokens.issue(OFFER)
    changed = token[:place] + sign + token[place + 1 :]

    assert (tokens.read(changed) == OFFER) == (changed == token)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.removeprefix("inv_"),
        lambda token: token.upper(),
        lambda token: "inv_" + token,
        lambda token: token[:-4],
        lambda token: token[:-1] + "\u00e9",
        lambda token: "",
    ],
)
def test_other_spelling_of_a_token_is_none(spoil) -> None:  # type: ignore[no-untyped-def]
    tokens = InvitationTokens(SECRET)
    token = tokens.issue(OFFER)
    assert tokens.read(token) == OFFER

    assert tokens.read(spoil(token)) is None


def test_standard_base64_is_another_spelling_and_none() -> None:
    tokens = InvitationTokens(SECRET)
    offers = (OFFER._replace(invitation_id=uuid4()) for _ in range(1_000))
    token = next(t for t in map(tokens.issue, offers) if "-" in t)

    assert tokens.read(token) is not None
    assert tokens.read(token.replace("-", "+")) is None
