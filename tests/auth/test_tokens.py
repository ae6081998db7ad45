"""Access tokens: what is issued is accepted, a corpus of hostile tokens is refused.

Forged tokens are built by hand, so that no library repairs them on the way.
"""

import base64
import hmac
import json
import re
import string
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pem import pem_of

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.errors import Unauthenticated
from saas.settings import Settings

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]
Values = tuple[Any, ...]

ISSUER, AUDIENCE, PLATFORM_AUDIENCE = "https://saas.example", "saas-api", "saas-platform"
TENANT = UUID("0192f3a0-5b6c-7def-8abc-0123456789ab")
SECRET = "correct-horse-battery-staple-0123456789"
ED25519, ATTACKER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC_RAW = ED25519.public_key().public_bytes_raw()
PUBLIC_PEM = ED25519.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
ABSENT = ...
DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def plane_of(algorithm: str, audience: str, *, requires_tenant: bool) -> TokenIssuer:
    key = signing_key_from(KEYS[algorithm])
    return TokenIssuer(key, issuer=ISSUER, audience=audience, requires_tenant=requires_tenant)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs(secret: bytes, digest: str = "sha256") -> Sign:
    return lambda message: hmac.digest(secret, message, digest)


KEYS = {"HS256": Settings(jwt_secret=SECRET), "EdDSA": Settings(jwt_key=pem_of(ED25519))}
SIGNERS: dict[str, Sign] = {"HS256": hs(SECRET.encode()), "EdDSA": ED25519.sign}
TENANTS = {name: plane_of(name, AUDIENCE, requires_tenant=True) for name in KEYS}
PLATFORM = {name: plane_of(name, PLATFORM_AUDIENCE, requires_tenant=False) for name in KEYS}


class At(NamedTuple):
    """A time relative to the moment in which the token is forged."""

    seconds: int
    kind: type = int


def forge(
    header: Json | bytes | None = None,
    claims: Json | bytes | None = None,
    *,
    algorithm: str = "HS256",
    sign: Sign | None = None,
) -> str:
    """A token that is good but for the changes; bytes replace a whole segment."""
    good_header = {"typ": "at+jwt", "alg": algorithm}
    message = f"{segment(good_header, header)}.{segment(GOOD_CLAIMS, claims)}"
    return f"{message}.{base64url((sign or SIGNERS[algorithm])(message.encode()))}"


def segment(good: Json, changes: Json | bytes | None) -> str:
    if isinstance(changes, bytes):
        return base64url(changes)
    return base64url(json_of({**good, **(changes or {})}))


def json_of(members: Json, more: str = "") -> bytes:
    now = int(time.time())
    present = {name: value for name, value in members.items() if value is not ABSENT}
    for name, value in present.items():
        if isinstance(value, At):
            present[name] = value.kind(now + value.seconds)
    return (json.dumps(present)[:-1] + more + "}").encode()


GOOD_CLAIMS: Json = {"iss": ISSUER, "aud": AUDIENCE, "sub": "key:1", "tid": str(TENANT)}
GOOD_CLAIMS |= {"iat": At(0), "exp": At(900)}


def each(name: str, *values: Any) -> list[Json | bytes]:
    return [{name: value} for value in values]


HOSTILE_HEADERS = [
    *each("typ", ABSENT, None, "", "JWT", "jwt", "id+jwt", "at+jwt ", ["at+jwt"]),
    *each("alg", ABSENT, None, [], ["HS256", "EdDSA"], {}, 1, "hs256", "eddsa", "HS256 "),
    *each("alg", "none", "nOnE", "HS384", "HS512", "RS256", "PS256", "ES256", "Ed25519"),
    *each("crit", None, [], {}, "exp", [1], ["exp"], ["typ"], ["b64"]),
    {"crit": ["b64"], "b64": True},
    {"crit": ["b64"], "b64": False},
    *each("b64", True, False),
    *each("jku", "https://saas.example/.well-known/jwks.json", "file:///dev/null", None),
    *each("x5u", "https://evil.example/cert.pem", ""),
    *each("jwk", {"kty": "oct", "k": "dw"}, None),
    *each("x5c", ["MIIB"], []),
    *each("kid", None, "", 1, [], "k" * 2_000, "k" * 10_000, "a\0b", "x' UNION SELECT 'a"),
    *each("kid", "../../dev/null", "/dev/null", "https://evil.example/jwks.json"),
    *(b'["at+jwt"]', b"null", b"{", b"1", b'{"typ":"\xff"}', b"[" * 2_500),
    b'{"typ":"at+jwt","alg":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"typ":"at+jwt","alg":"none","alg":"%s"}',
    b'{"typ":"at+jwt","alg":"%s","\\u0061lg":"%s"}',
    b'{"typ":"JWT","typ":"at+jwt","alg":"%s"}',
    b'{"typ":"at+jwt","alg":"%s","x":{"a":1,"a":1}}',
    b'{"typ":"at+jwt","alg":"%s","x":NaN}',
    b'\xef\xbb\xbf{"typ":"at+jwt","alg":"%s"}',
]

HUGE = 10**400
NOT_TIMES: Values = (ABSENT, None, True, False, "1", "9999999999", 1.5, 9e9, [], {}, HUGE, -HUGE)
NOT_UUIDS = (f"urn:uuid:{TENANT}", f"{{{TENANT}}}", str(TENANT).upper(), TENANT.hex, f"{TENANT} ")

WITHOUT_EXP = {**GOOD_CLAIMS, "exp": ABSENT}

HOSTILE_CLAIMS = [
    *each("iss", ABSENT, None, "", "https://evil.example", ISSUER[:-1], [ISSUER], 1),
    *each("aud", ABSENT, None, "", "other", PLATFORM_AUDIENCE, AUDIENCE.upper(), 1),
    *each("aud", [], [AUDIENCE], [AUDIENCE, "other"], {AUDIENCE: 1}, [[AUDIENCE]]),
    *each("sub", ABSENT, None, "", "s" * 201, 7, [], "a\0", "a\n", "a\ud800"),
    *each("exp", *NOT_TIMES, 0, -1, 253_402_300_799, At(600, str), At(600, float)),
    *each("iat", *NOT_TIMES, 0, -1, At(30), At(0, str), At(0, float)),
    *each("nbf", None, True, "1", 1.5, [], HUGE, At(30)),
    {"iat": At(-100), "exp": At(-11)},
    {"iat": At(0), "exp": At(901)},
    {"iat": At(30), "exp": At(100)},
    {"iat": At(5), "exp": At(5)},
    {"iat": At(5), "exp": At(3)},
    {"iat": HUGE, "exp": HUGE + 900},
    *each("jti", None, 7, []),
    *each("tid", ABSENT, None, "", "acme", TENANT.int, [str(TENANT)], *NOT_UUIDS),
    *each("role", None, "", 1, ["owner"], "r" * 201),
    *each("permissions", None, "a:read", {"a:read": 1}, [1], [None], [""], [["a"]]),
    *(json_of(WITHOUT_EXP, f', "exp": {number}') for number in ("1e999", "Infinity", "NaN")),
    json_of(GOOD_CLAIMS, ', "x": NaN'),
    json_of(GOOD_CLAIMS, ', "sub": "key:2"'),
    json_of(GOOD_CLAIMS, f', "tid": "{TENANT}"'),
    json_of(GOOD_CLAIMS, f', "\\u0074id": "{TENANT}"'),
    json_of(GOOD_CLAIMS, ', "x": {"a": 1, "a": 2}'),
    json_of(GOOD_CLAIMS, f', "x": {"[" * 1_200}{"]" * 1_200}'),
    json_of(GOOD_CLAIMS).replace(b"key", b"\xff"),
    json_of(GOOD_CLAIMS).decode().encode("utf-16"),
    *(b"[" * 2_500, b"[]", b'"sub"', b"null", b"{'sub': 1}", b"1" * 2_900),
]

WEAK = b"w" * 32
ATTACKER_X = base64url(ATTACKER.public_key().public_bytes_raw())
ATTACKER_JWK = {"kty": "OKP", "crv": "Ed25519", "x": ATTACKER_X}

FORGERIES: dict[str, tuple[str, Json, Sign]] = {
    "other secret": ("HS256", {}, hs(WEAK)),
    "other secret in jwk": ("HS256", {"jwk": {"kty": "oct", "k": base64url(WEAK)}}, hs(WEAK)),
    "empty secret": ("HS256", {}, hs(b"")),
    "other key": ("EdDSA", {}, ATTACKER.sign),
    "other key in jwk": ("EdDSA", {"jwk": ATTACKER_JWK}, ATTACKER.sign),
    "other key by jku": ("EdDSA", {"jku": "https://evil.example/jwks.json"}, ATTACKER.sign),
    "other key by x5u": ("EdDSA", {"x5u": "https://evil.example/cert.pem"}, ATTACKER.sign),
    "public PEM as secret": ("EdDSA", {"alg": "HS256"}, hs(PUBLIC_PEM)),
    "public PEM as HS512 secret": ("EdDSA", {"alg": "HS512"}, hs(PUBLIC_PEM, "sha512")),
    "public bytes as secret": ("EdDSA", {"alg": "HS256"}, hs(PUBLIC_RAW)),
    "public bytes as secret under EdDSA": ("EdDSA", {}, hs(PUBLIC_RAW)),
    "HS512 of our secret": ("HS256", {"alg": "HS512"}, hs(SECRET.encode(), "sha512")),
    "HS512 of our secret under HS256": ("HS256", {}, hs(SECRET.encode(), "sha512")),
    "EdDSA against HS256": ("HS256", {"alg": "EdDSA"}, ED25519.sign),
    "HS256 against EdDSA": ("EdDSA", {"alg": "HS256"}, hs(SECRET.encode())),
    **{
        f"alg {alg} against {algorithm}": (algorithm, {"alg": alg}, lambda message: b"")
        for algorithm in KEYS
        for alg in ("none", "nOnE", "NONE")
    },
}

# A good token is {h}.{p}.{s}; {other} is the payload of another good one.
MANGLINGS = [
    *("", ".", "..", "{h}", "{h}.{p}", "{h}.{p}.", "{h}..{s}", ".{p}.{s}", "{h}.{other}.{s}"),
    *("{h}.{p}.{s}.a", "{h}.{p}.{s}.a.b", "{h}.{s}.{p}", "{p}.{h}.{s}", "{h}{p}.{s}", "a.b.c"),
    *(" {h}.{p}.{s}", "{h}.{p}.{s}\n", "{h}.\n{p}.{s}", "{h}.{p}\t.{s}", "{h}.{p}.{s},{h}.{p}.{s}"),
    *("{h}.{p}.{s}=", "{h}=.{p}.{s}", "{h}.{p}.{s}==", "{h}.{p}.{s}+/", "{h}.{p}.{s}\0"),
    *("{h}.{p}.{s}\u200b", "{h}.{p}.{s}\u0661", "{h}.{p}.{s}\ud800", "{h}\uff0e{p}.{s}"),
    *("{h}.{p}.A{s}", "{h}.{p}.{s}A", "{h}.{p}A.{s}", "Bearer {h}.{p}.{s}", "%s{h}.{p}.{s}"),
    '{{"protected":"{h}","payload":"{p}","signature":"{s}"}}',
]

HARMLESS: list[tuple[Json, Json]] = [
    ({"typ": "application/at+jwt"}, {}),
    ({"typ": "AT+JWT"}, {}),
    ({"x5t": "0", "cty": "x", "nonce": "n"}, {}),
    ({}, {"iat": At(-100), "exp": At(-5)}),
    ({}, {"iat": At(5), "exp": At(905)}),
    ({}, {"nbf": At(5)}),
    ({}, {"jti": "1", "scope": {"a": [1.5, None]}}),
    ({}, {"sub": "s" * 200}),
]


def assert_refused(plane: TokenIssuer, token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        plane.verify(token)
    # The reason must not be told, so every refusal is the same one.
    assert vars(refusal.value) == vars(Unauthenticated())


def brief(value: object) -> str:
    """A short name of a case, the same in every process."""
    return ascii(re.sub(r"\d{10}", "now", str(value).replace("\\x00", ""))[-60:])


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=brief)
def test_well_signed_hostile_header_is_refused(algorithm: str, header: Json | bytes) -> None:
    assert TENANTS[algorithm].verify(forge(algorithm=algorithm)).subject == "key:1"

    if isinstance(header, bytes):
        header = header.replace(b"%s", algorithm.encode())
    assert_refused(TENANTS[algorithm], forge(header, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("claims", HOSTILE_CLAIMS, ids=brief)
def test_well_signed_hostile_claims_are_refused(algorithm: str, claims: Json | bytes) -> None:
    assert TENANTS[algorithm].verify(forge(algorithm=algorithm)).tenant_id == TENANT

    assert_refused(TENANTS[algorithm], forge(claims=claims, algorithm=algorithm))


@pytest.mark.parametrize(("algorithm", "header", "sign"), FORGERIES.values(), ids=FORGERIES)
def test_token_with_forged_signature_is_refused(algorithm: str, header: Json, sign: Sign) -> None:
    plane = TENANTS[algorithm]
    assert plane.verify(forge(algorithm=algorithm)).subject == "key:1"

    assert_refused(plane, forge(header, algorithm=algorithm, sign=sign))


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", MANGLINGS, ids=brief)
def test_mangled_token_is_refused(algorithm: str, form: str) -> None:
    plane, token = TENANTS[algorithm], forge(algorithm=algorithm)
    h, p, s = token.split(".")
    other = forge(claims={"sub": "key:2"}).split(".")[1]
    assert plane.verify(token).subject == "key:1"

    assert_refused(plane, form.format(h=h, p=p, s=s, other=other))
    assert_refused(plane, token[:-1])


@pytest.mark.parametrize("algorithm", KEYS)
def test_any_flipped_bit_of_the_signature_is_refused(algorithm: str) -> None:
    plane = TENANTS[algorithm]
    message, _, signature = forge(algorithm=algorithm).rpartition(".")
    good = base64.urlsafe_b64decode(signature + "==")
    assert plane.verify(f"{message}.{base64url(good)}").subject == "key:1"

    for bit in range(len(good) * 8):
        flipped = (int.from_bytes(good, "big") ^ 1 << bit).to_bytes(len(good), "big")
        assert_refused(plane, f"{message}.{base64url(flipped)}")


def test_each_segment_has_one_spelling() -> None:
    plane = TENANTS["HS256"]
    # 32 bytes of a signature, and a header and payload of 3n + 1: each ends in a digit with bits
    # to spare, which a lenient reader ignores.
    claims = json_of({**GOOD_CLAIMS, "x": ""})
    token = forge(json_of({"typ": "at+jwt", "alg": "HS256"}).ljust(34), claims.ljust(250))
    assert plane.verify(token).subject == "key:1"

    for place in (token.index("."), token.rindex("."), len(token)):
        digit = DIGITS[DIGITS.index(token[place - 1]) + 1]
        assert_refused(plane, token[: place - 1] + digit + token[place:])
        resigned = f"{token[: place - 1]}{digit}{token[place:]}".rpartition(".")[0]
        signature = base64url(SIGNERS["HS256"](resigned.encode()))
        if place < len(token):
            assert_refused(plane, f"{resigned}.{signature}")


@pytest.mark.parametrize(("header", "claims"), HARMLESS, ids=brief)
def test_harmless_variant_is_accepted(header: Json, claims: Json) -> None:
    assert TENANTS["HS256"].verify(forge(header, claims)).tenant_id == TENANT


def test_token_of_4096_characters_is_read_and_a_longer_one_is_not() -> None:
    plane = TENANTS["HS256"]
    tokens = [forge(claims={"x": "x" * length}) for length in range(2_700, 3_000)]
    longest = max((token for token in tokens if len(token) <= 4_096), key=len)
    shortest = min((token for token in tokens if len(token) > 4_096), key=len)
    assert (len(longest), len(shortest)) == (4_096, 4_097)

    assert plane.verify(longest).subject == "key:1"
    assert_refused(plane, shortest)


@pytest.mark.parametrize("algorithm", KEYS)
def test_each_plane_refuses_the_tokens_of_the_other(algorithm: str) -> None:
    tenants, platform = TENANTS[algorithm], PLATFORM[algorithm]
    of_tenant = tenants.issue("key:1", tenant_id=TENANT)
    of_platform = platform.issue("ada", tenant_id=None)
    assert tenants.verify(of_tenant).tenant_id == TENANT
    assert platform.verify(of_platform).tenant_id is None

    assert_refused(platform, of_tenant)
    assert_refused(tenants, of_platform)


def test_planes_stay_apart_even_with_one_audience() -> None:
    tenants, platform = TENANTS["HS256"], plane_of("HS256", AUDIENCE, requires_tenant=False)
    assert platform.verify(platform.issue("ada", tenant_id=None)).subject == "ada"

    assert_refused(tenants, platform.issue("ada", tenant_id=None))
    assert_refused(platform, tenants.issue("key:1", tenant_id=TENANT))
    assert_refused(platform, forge(claims={"tid": None}))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ANY_HEADER = st.dictionaries(
    st.sampled_from(["typ", "alg", "kid", "crit", "b64", "jwk", "jku", "zip"]), ANY_JSON, max_size=3
)
ANY_CLAIMS = st.dictionaries(
    st.sampled_from([*GOOD_CLAIMS, "nbf", "jti", "role", "permissions"]), ANY_JSON, max_size=3
)


@given(header=ANY_HEADER | st.binary(max_size=60), claims=ANY_CLAIMS | st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_well_signed_content_gives_claims_or_the_one_refusal(
    header: Json | bytes, claims: Json | bytes
) -> None:
    token = forge(header, claims)
    try:
        assert TENANTS["HS256"].verify(token).tenant_id is not None
    except Unauthenticated:
        assert_refused(TENANTS["HS256"], token)


@given(st.text() | st.from_regex(r"[\w=-]*\.[\w=-]*\.[\w=-]*", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_any_text_gives_the_one_refusal(text: str) -> None:
    assert_refused(TENANTS["HS256"], text)
