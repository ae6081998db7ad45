"""API keys: what is made is read back, and no other text is."""

import hashlib
import string
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saas.auth.keys import ParsedKey, matches, new_api_key, parse_api_key

TENANT = UUID("0192f3a0-5b6c-7def-8abc-0123456789ab")
KEY_ID = UUID("0192f3a0-5b6c-7def-8abc-ba9876543210")
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ZEROS = "sk_" + "0" * 87
MAX_ID = "7n42DGM5Tflk9n8mt7Fhc7"
MAX_SECRET = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"


@given(tenant_id=st.uuids(), key_id=st.uuids())
@settings(max_examples=100, deadline=None)
def test_new_key_is_read_back(tenant_id: UUID, key_id: UUID) -> None:
    key = new_api_key(tenant_id, key_id)

    assert parse_api_key(key.text) == ParsedKey(key_id, tenant_id, key.secret_hash)
    assert (key.key_id, key.tenant_id) == (key_id, tenant_id)


@pytest.mark.parametrize("number", [0, 1, 61, 62, 2**64, 2**128 - 1])
def test_key_has_one_form_for_every_id(number: int) -> None:
    key = new_api_key(UUID(int=number), UUID(int=number))

    assert len(key.text) == 3 + 22 + 22 + 43
    assert key.prefix == key.text[:25]
    assert key.text[:3] == "sk_"
    assert key.text[3:25] == key.text[25:47]
    assert value_of(key.text[3:25]) == number


def test_only_the_sha_256_of_the_secret_is_kept() -> None:
    key = new_api_key(TENANT, KEY_ID)

    assert key.secret_hash == hashlib.sha256(key.text[47:].encode()).digest()
    assert key.text[47:] not in repr(key)
    assert key.prefix in repr(key)


def test_each_key_has_its_own_secret() -> None:
    secrets = {new_api_key(TENANT, KEY_ID).text[47:] for _ in range(100)}

    assert len(secrets) == 100


def test_hash_matches_itself_and_no_other() -> None:
    one, other = new_api_key(TENANT, KEY_ID), new_api_key(TENANT, KEY_ID)
    presented = parse_api_key(one.text)
    assert presented is not None

    assert matches(one.secret_hash, presented.secret_hash)
    assert not matches(other.secret_hash, presented.secret_hash)
    assert not matches(b"", presented.secret_hash)


@pytest.mark.parametrize(
    "position", [pytest.param(47, id="first of secret"), pytest.param(89, id="last of secret")]
)
def test_changed_secret_does_not_match(position: int) -> None:
    key = new_api_key(TENANT, KEY_ID)
    digit = "0" if key.text[position] != "0" else "1"

    changed = parse_api_key(key.text[:position] + digit + key.text[position + 1 :])

    assert changed is not None
    assert not matches(key.secret_hash, changed.secret_hash)


MALFORMED: dict[str, str] = {
    "empty": "",
    "scheme alone": "sk_",
    "too short": ZEROS[:-1],
    "too long": ZEROS + "0",
    "trailing newline": ZEROS + "\n",
    "newline for a digit": ZEROS[:-1] + "\n",
    "leading space": " " + ZEROS[:-1],
    "other scheme": "pk_" + ZEROS[3:],
    "scheme in capitals": "SK_" + ZEROS[3:],
    "underscore": ZEROS[:-1] + "_",
    "minus": ZEROS[:3] + "-" + ZEROS[4:],
    "plus": ZEROS[:3] + "+" + ZEROS[4:],
    "dot": ZEROS[:25] + "." + ZEROS[26:],
    "NUL": ZEROS[:-1] + "\0",
    "Arabic digit": ZEROS[:-1] + "\u0661",
    "superscript digit": ZEROS[:-1] + "\u00b2",
    "fullwidth letter": ZEROS[:-1] + "\uff41",
    "accented letter": ZEROS[:-1] + "\u00e9",
    "lone surrogate": ZEROS[:-1] + "\ud800",
    "key id of 2**128": "sk_" + MAX_ID[:-1] + "8" + "0" * 65,
    "key id at the end of its width": "sk_" + "z" * 22 + "0" * 65,
    "tenant id of 2**128": "sk_" + "0" * 22 + MAX_ID[:-1] + "8" + "0" * 43,
    "tenant id at the end of its width": "sk_" + "0" * 22 + "z" * 22 + "0" * 43,
    "secret of 2**256": "sk_" + "0" * 44 + MAX_SECRET[:-1] + "2",
    "secret at the end of its width": "sk_" + "0" * 44 + "z" * 43,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed_key_is_refused(text: str) -> None:
    assert parse_api_key(ZEROS) is not None

    assert parse_api_key(text) is None


def test_largest_values_of_each_part_are_read() -> None:
    assert (value_of(MAX_ID), value_of(MAX_SECRET)) == (2**128 - 1, 2**256 - 1)

    parsed = parse_api_key(f"sk_{MAX_ID}{MAX_ID}{MAX_SECRET}")

    assert parsed is not None
    assert parsed.key_id == parsed.tenant_id == UUID(int=2**128 - 1)


@given(st.text() | st.text(DIGITS, min_size=87, max_size=87).map("sk_".__add__))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_exactly_or_not_at_all(text: str) -> None:
    parsed = parse_api_key(text)

    if parsed is not None:
        assert parsed.key_id.int == value_of(text[3:25])
        assert parsed.tenant_id.int == value_of(text[25:47])


def value_of(text: str) -> int:
    """Base62 by its definition."""
    return sum(DIGITS.index(digit) * 62**place for place, digit in enumerate(reversed(text)))
