"""A corpus of hostile tokens (RFC 8725), sent to the API: each gets the one answer that no token
gets. Beside each stands what is allowed."""

import asyncio
import base64
import hmac
import json
import time
import zlib

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from identity_provider import AUDIENCE, identity_provider, jwk_of, private_key
from saas.app import create_app
from saas.auth.signing_key import signing_key_from

SAME_ID = {"X-Request-ID": "one-for-all"}
KINDS = ("RS256", "ES256", "EdDSA")
ATTACKER = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
HUGE = 10**400


@pytest.fixture(scope="module")
async def provider():
    async with identity_provider() as provider:
        for kind in KINDS:
            provider.add_key(kind, kind)
        yield provider


@pytest.fixture(scope="module")
async def api(settings, serve, provider):
    entry = provider.entry(claims={"role": "role", "permissions": "permissions"})
    # PS256 of the same RSA key is allowed, but the key says that it is for RS256.
    async with serve(create_app(msgspec.structs.replace(settings, issuers=entry))) as http:
        yield http


@pytest.fixture
async def refused(api):
    """The answer to no token at all."""
    answer = await api.get("/v1/projects", headers=SAME_ID)
    assert answer.status_code == 401
    return answer


@pytest.fixture
def good(provider, tenant):
    """The claims of a token that is let in."""
    return provider.claims(
        tenant=tenant.tenant_id,
        sub=tenant.owner_id,
        role="owner",
        permissions=["projects:read"],
    )


async def ask(api, token):
    value = f"Bearer {token}".encode("utf-8", "surrogatepass") if isinstance(token, str) else token
    headers = [*SAME_ID.items(), ("Authorization", value)]
    request = api.build_request("GET", "/v1/projects", headers=headers)
    return await api.send(request)


async def assert_refused(api, refused, tokens):
    # At once: those that name an unknown key wait for the next reading of the issuer's keys.
    answers = await asyncio.gather(*(ask(api, token) for token in tokens.values()))
    for name, answer in zip(tokens, answers, strict=True):
        assert answer.status_code == 401, name
        assert answer.content == refused.content, name
        assert sorted(answer.headers.items()) == sorted(refused.headers.items()), name


def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signer_of(kind):
    key, algorithm = private_key(kind), jwt.get_algorithm_by_name(kind)
    return lambda message: algorithm.sign(message, key)


def forge(kind, header, payload, sign=None):
    """A token well signed by the provider's key of this kind, whatever it says."""
    if isinstance(header, dict):
        header = {"alg": kind, "kid": kind, "typ": "JWT", **header}
        header = {name: value for name, value in header.items() if value is not ...}
    message = f"{b64(header)}.{b64(payload)}"
    return f"{message}.{b64((sign or signer_of(kind))(message.encode()))}"


HEADERS = {
    "alg none": {"alg": "none"},
    "alg nOnE": {"alg": "nOnE"},
    "no alg": {"alg": ...},
    "alg null": {"alg": None},
    "alg list": {"alg": ["RS256", "ES256", "EdDSA"]},
    "alg HS256": {"alg": "HS256"},
    "alg PS256": {"alg": "PS256"},
    "alg ES384": {"alg": "ES384"},
    "alg Ed25519": {"alg": "Ed25519"},
    "alg of the JWE": {"alg": "RSA-OAEP", "enc": "A256GCM"},
    "kid of nobody": {"kid": "nobody"},
    "kid empty": {"kid": ""},
    "kid null": {"kid": None},
    "kid number": {"kid": 1},
    "kid list": {"kid": ["RS256"]},
    "no kid where there are several": {"kid": ...},
    "kid traversal": {"kid": "../../../../dev/null"},
    "kid file": {"kid": "file:///dev/null"},
    "kid URL": {"kid": "http://127.0.0.1:1/keys"},
    "kid SQL": {"kid": "RS256' UNION SELECT 'AAAA' --"},
    "kid command": {"kid": "|sleep 5"},
    "kid NUL": {"kid": "RS256\0"},
    "kid blank": {"kid": " RS256"},
    "kid of 201": {"kid": "k" * 201},
    "kid of 10 kB": {"kid": "k" * 10_000},
    "kid with a lone surrogate": {"kid": "\ud800"},
    "typ of an id token": {"typ": "id+jwt"},
    "typ of a logout token": {"typ": "logout+jwt"},
    "typ of a DPoP proof": {"typ": "dpop+jwt"},
    "typ empty": {"typ": ""},
    "typ null": {"typ": None},
    "typ list": {"typ": ["JWT"]},
    "typ blank": {"typ": "JWT "},
    "typ JWE": {"typ": "JWE"},
    "no typ": {"typ": ...},
    "crit": {"crit": ["exp"]},
    "crit empty": {"crit": []},
    "crit null": {"crit": None},
    "b64 false": {"b64": False, "crit": ["b64"]},
    "b64 false alone": {"b64": False},
    "b64 true": {"b64": True},
    "jku": {"jku": "http://127.0.0.1:1/keys"},
    "x5u": {"x5u": "http://127.0.0.1:1/certificate"},
    "x5c": {"x5c": ["MIIB"]},
    "jwk": {"jwk": {"kty": "OKP"}},
    "list": [],
    "text": "alg",
    "null": None,
    "no JSON": b"{",
    "no UTF-8": b'{"alg":"\xff"}',
    "deep": b"[" * 4_000,
    "deep inside": b'{"alg":"EdDSA","x":' + b"[" * 2_500 + b"]" * 2_500 + b"}",
    "zip bomb": {"zip": "DEF", "x": b64(zlib.compress(b"\0" * 1_000_000))},
    "duplicate alg": b'{"alg":"none","alg":"EdDSA","kid":"EdDSA","typ":"JWT"}',
    "duplicate kid": b'{"alg":"EdDSA","kid":"x","kid":"EdDSA","typ":"JWT"}',
    "escaped duplicate": b'{"alg":"EdDSA","kid":"EdDSA","typ":"x","t\\u0079p":"JWT"}',
    "NaN": b'{"alg":"EdDSA","kid":"EdDSA","typ":"JWT","x":NaN}',
    "byte order mark": b'\xef\xbb\xbf{"alg":"EdDSA","kid":"EdDSA","typ":"JWT"}',
    "UTF-16": '{"alg":"EdDSA","kid":"EdDSA","typ":"JWT"}'.encode("utf-16"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_header_that_is_hostile_is_refused_however_well_it_is_signed(
    api, refused, good, kind
):
    assert (await ask(api, forge(kind, {}, good))).status_code == 200
    assert (await ask(api, forge(kind, {"typ": "application/AT+JWT"}, good))).status_code == 200

    await assert_refused(api, refused, {n: forge(kind, h, good) for n, h in HEADERS.items()})


def claims_of(good):
    now = int(time.time())
    not_times = (None, True, "1", str(now + 60), 1.5, float(now + 60), [], {}, HUGE, -HUGE)
    strings = (None, "", 1, [], {}, True)
    changes = [
        *({"iss": value} for value in (..., *strings, "https://idp.test/", "HTTPS://IDP.TEST")),
        *({"iss": value} for value in (["https://idp.test"], "https://saas.example", "evil")),
        *({"aud": value} for value in (..., *strings, "other", "saas-api", "saas-platform")),
        *({"aud": value} for value in ([AUDIENCE, "other"], [AUDIENCE] * 2, [[AUDIENCE]])),
        *({"aud": value} for value in ({AUDIENCE: 1}, AUDIENCE + "/", AUDIENCE.upper())),
        *({"sub": value} for value in (..., *strings, "s" * 201, "a\0", "\ud800", "a\u202e")),
        *({"exp": value} for value in (..., *not_times, 0, -1, now - 11, 253_402_300_799)),
        *({"iat": value} for value in (..., *not_times, 0, -1, now + 60, now - 90_000)),
        *({"nbf": value} for value in (None, True, "1", 1.5, HUGE, now + 60)),
        {"iat": now, "exp": now + 3_601},
        {"iat": now - 3_000, "exp": now + 700},
        {"iat": now + 5, "exp": now + 5},
        {"iat": now + 9, "exp": now + 3},
        *({"jti": value} for value in (None, 1, [])),
        *({"tenant": value} for value in (..., *strings, "%", "' OR 1=1 --", "t" * 201)),
        *({"role": value} for value in (None, 1, ["owner"], "", "r" * 201)),
        *({"permissions": value} for value in (None, 1, {}, [1], [None], [[]], [""])),
    ]
    return [{k: v for k, v in (good | one).items() if v is not ...} for one in changes]


@pytest.mark.parametrize("kind", KINDS)
async def test_claims_that_are_hostile_are_refused_however_well_they_are_signed(
    api, refused, good, kind
):
    now = int(time.time())
    for harmless in ({}, {"aud": [AUDIENCE]}, {"nbf": now}, {"exp": now + 3_500}, {"x": [1.5]}):
        assert (await ask(api, forge(kind, {}, good | harmless))).status_code == 200
    raw = json.dumps(good)[:-1]
    texts = {
        "duplicate": raw + f', "sub": "{good["sub"]}"}}',
        "escaped duplicate": raw + f', "t\\u0065nant": "{good["tenant"]}"}}',
        "duplicate inside": raw + ', "x": {"a": 1, "a": 2}}',
        "NaN": raw + ', "x": NaN}',
        "infinite exp": json.dumps({**good, "exp": ...}, default=lambda _: 0)[:-1] + "}",
        "deep": raw + f', "x": {"[" * 2_000}{"]" * 2_000}}}',
        "list": "[]",
        "null": "null",
        "text": '"sub"',
        "empty": "{}",
        "half": raw,
        "single quotes": raw.replace('"', "'") + "}",
        "nested JWS": forge(kind, {}, good),
    }

    tokens = {f"claims {n}": forge(kind, {}, c) for n, c in enumerate(claims_of(good))}
    tokens |= {name: forge(kind, {}, text.encode()) for name, text in texts.items()}
    tokens["UTF-16"] = forge(kind, {}, json.dumps(good).encode("utf-16"))
    await assert_refused(api, refused, tokens)


async def test_signature_of_anybody_else_is_refused(api, refused, good, provider, settings):
    def hs(secret, digest="sha256"):
        return lambda message: hmac.digest(secret, message, digest)

    assert (await ask(api, forge("EdDSA", {}, good))).status_code == 200
    tokens, asked = {}, provider.asked
    for kind in KINDS:
        assert (await ask(api, forge(kind, {}, good))).status_code == 200
        key = private_key(kind)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        jwk = jwk_of(kind, key, kind)
        secrets = {
            "PEM": public,
            "PEM without its end of line": public.strip(),
            "JWK": json.dumps(jwk).encode(),
            "x of the JWK": str(jwk.get("x", jwk.get("n"))).encode(),
            "nothing": b"",
        }
        for name, secret in secrets.items():
            for alg in ("HS256", kind):
                tokens[f"{kind} {alg} {name}"] = forge(kind, {"alg": alg}, good, hs(secret))
        tokens |= {
            f"{kind} by the attacker": forge(kind, {}, good, ATTACKER.sign),
            f"{kind} as EdDSA": forge(kind, {"alg": "EdDSA"}, good, ATTACKER.sign),
            f"{kind} without": forge(kind, {}, good, lambda _: b""),
            f"{kind} zeros": forge(kind, {}, good, lambda _: bytes(64)),
            f"{kind} alg none": forge(kind, {"alg": "none"}, good, lambda _: b""),
        }
        others = [other for other in KINDS if other != kind]
        tokens |= {f"{kind} by {o}": forge(kind, {}, good, signer_of(o)) for o in others}
        # Well signed by another key than the one that is named.
        tokens |= {f"{o} named {kind}": forge(o, {"kid": kind}, good) for o in others}
    embedded = jwk_of("EdDSA", ATTACKER, "EdDSA")
    tokens["own key in jwk"] = forge("EdDSA", {"jwk": embedded}, good, ATTACKER.sign)
    tokens["own key by jku"] = forge("EdDSA", {"jku": provider.url}, good, ATTACKER.sign)
    tokens["ours"] = jwt.encode(
        good, signing_key_from(settings).signer, headers={"typ": "JWT", "kid": "EdDSA"}
    )
    tokens["theirs as ours"] = forge(
        "EdDSA", {"typ": "at+jwt"}, good | {"iss": settings.jwt_issuer, "aud": "saas-api"}
    )

    await assert_refused(api, refused, tokens)
    # Nor has any of them made us ask somebody.
    assert provider.asked == asked


async def test_token_has_one_spelling(api, refused, good):
    token = forge("EdDSA", {}, good)
    h, p, s = token.split(".")
    other = forge("EdDSA", {}, good | {"jti": "other"}).split(".")
    assert (await ask(api, token)).status_code == 200

    forms = [
        *(f"{h}.{p}.{s}.", f".{h}.{p}.{s}", f"{h}..{p}.{s}", f"{h}.{p}.", f"{h}.{p}", f"{h}..{s}"),
        *(f"{h}.{p}.{s}.{s}", f"{h}.{p}.{s}.{s}.{s}", f"{h}.{other[1]}.{s}", f"{p}.{h}.{s}"),
        *(f"{h}.{p}.{s}=", f"{h}.{p}.{s}==", f"{h}=.{p}.{s}", f"{h}.{p}.{s}\x0b", f"{h}.{p}.{s}A"),
        *(f"{h}.{p} .{s}", f"{h}. {p}.{s}", f"{h}.\t{p}.{s}", f"{h}.{p}.{s},{token}", f'"{token}"'),
        *(f"{h}.{p}.{s}\u00a0", f"\u00a0{h}.{p}.{s}", f"{h}.{p}.{s}\u0085", f"{h}\uff0e{p}.{s}"),
        *(f"{h}.{p}.{s}\u200b", f"\ufeff{h}.{p}.{s}", f"{h}.{p}.{s[:-1]}\u0661", f"Bearer {token}"),
        *(
            f"{h}%2E{p}.{s}",
            f"{h}.{p}.{s[:-2]}+/",
            f"{h}.{p}.{s}\0",
            "",
            ".",
            "..",
            "....",
            "a.b.c",
        ),
        *("A" * 8_193, "." * 8_000, f"{h}.{'A' * 8_000}.{s}", f"{'A' * 8_000}.{p}.{s}"),
        json.dumps({"protected": h, "payload": p, "signature": s}),
        json.dumps({"payload": p, "signatures": [{"protected": h, "signature": s}]}),
    ]
    await assert_refused(api, refused, {f"{n}: {form[-40:]}": form for n, form in enumerate(forms)})
    raw = {
        "NBSP": b"Bearer " + token.encode() + b"\xa0",
        "C1": b"Bearer " + token.encode() + b"\x85",
        "file separator": b"Bearer " + token.encode() + b"\x1c",
        "tab": b"Bearer\t" + token.encode(),
        "no blank": b"Bearer" + token.encode(),
        "DPoP": b"DPoP " + token.encode(),
        "no scheme": token.encode(),
    }
    await assert_refused(api, refused, raw)
    jwe = ".".join((b64({"alg": "dir", "enc": "A128GCM", "zip": "DEF", "cty": "JWT"}), *"abcd"))
    await assert_refused(api, refused, {"JWE": jwe, "JWE of five": f"{h}.{p}.{s}.{p}.{s}"})


async def test_refusal_is_the_same_for_a_token_of_nobody_we_know(api, refused, good, provider):
    unknown = forge("EdDSA", {}, good | {"iss": "https://unknown.test"})
    other = forge("EdDSA", {}, good | {"tenant": "no-such-tenant"})
    stranger = forge("EdDSA", {}, good | {"sub": "nobody"})

    await assert_refused(api, refused, {"iss": unknown, "tenant": other, "sub": stranger})
    two = [("Authorization", f"Bearer {forge('EdDSA', {}, good)}")] * 2
    answer: httpx.Response = await api.get("/v1/projects", headers=[*SAME_ID.items(), *two])
    assert (answer.status_code, answer.content) == (401, refused.content)
