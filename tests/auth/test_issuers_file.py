"""What stands in SAAS_ISSUERS is right, or stops the start in one line."""

import json
import re
from pathlib import Path

import pytest

from identity_provider import jwk_of, private_key
from saas.auth.external_issuers import external_issuers_from
from saas.auth.issuers_file import ClaimNames, Issuer, issuers_from
from saas.errors import ConfigurationError
from saas.settings import Settings, load_settings

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
GOOD = """
[[issuers]]
issuer = "https://idp.example/"
audience = "https://api.saas.example"
jwks_url = "https://idp.example/keys"
tenant = "acme"
"""


def changed(**changes):
    """GOOD with other lines; None takes a line away, a dict is a table of its own."""
    lines = dict(line.split(" = ") for line in GOOD.strip().splitlines()[1:])
    tables = ""
    for name, value in changes.items():
        lines.pop(name, None)
        if isinstance(value, dict):
            tables = f"[issuers.{name}]\n" + "".join(f"{k} = {v}\n" for k, v in value.items())
        elif value is not None:
            lines[name] = value
    return "\n".join(
        ["[[issuers]]", *(f"{name} = {value}" for name, value in lines.items()), tables]
    )


def test_defaults_are_those_of_the_page():
    (issuer,) = issuers_from(Settings(issuers=GOOD))

    assert issuer.algorithms == ("RS256", "ES256", "EdDSA")
    assert issuer.types == ("at+jwt", "JWT")
    assert (issuer.max_lifetime_seconds, issuer.refresh_seconds) == (3_600, 300)
    assert (issuer.claims.subject, issuer.claims.email, issuer.claims.role) == ("sub", None, None)
    assert issuers_from(Settings()) == issuers_from(Settings(issuers="")) == []


def test_file_of_the_page_is_right():
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)

    first, second = issuers_from(Settings(issuers=text))

    assert (first.tenant, first.claims.email) == ("acme", "email")
    assert (second.tenants, second.claims.permissions) == (("acme", "globex"), "scope")
    # The page speaks of every entry.
    for entry in (*Issuer.__struct_fields__, *ClaimNames.__struct_fields__):
        assert entry in PAGE.read_text()


RIGHT = {
    "several": GOOD + changed(issuer='"https://other.example"'),
    "loopback": changed(jwks_url='"http://127.0.0.1:8080/keys"'),
    "loopback of IPv6": changed(jwks_url='"http://[::1]:8080/keys"'),
    "localhost": changed(jwks_url='"http://localhost/keys?a=b"'),
    "tenant by claim": changed(tenant=None, claims={"tenant": '"org"'}),
    "tenants": changed(tenant=None, tenants='["acme"]', claims={"tenant": '"org"'}),
    "our own audience": changed(audience='"saas-api"'),
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_right_entry_is_taken(text):
    assert issuers_from(Settings(issuers=text))


WRONG = {
    "no TOML": ("[[issuers]]\nissuer = x\n", "line 2"),
    "another table": ("[[issuer]]\n", "unknown field `issuer`"),
    "no table": ("issuers = 1", "issuers"),
    "unknown entry": (changed(audiences='["x"]'), "audiences"),
    "no issuer": (changed(issuer=None), "issuer"),
    "empty issuer": (changed(issuer='""'), "issuer"),
    "no audience": (changed(audience=None), "audience"),
    "two audiences": (changed(audience='["a", "b"]'), "audience"),
    "no keys": (changed(jwks_url=None), "jwks_url and jwks_file"),
    "keys in two places": (changed(jwks_file='"/x"'), "jwks_url and jwks_file"),
    "no tenant": (changed(tenant=None), "tenant and claims.tenant"),
    "two tenants": (changed(claims={"tenant": '"org"'}), "tenant and claims.tenant"),
    "tenants without a claim": (changed(tenants='["acme"]'), "tenants"),
    "no tenants": (changed(tenant=None, tenants="[]", claims={"tenant": '"o"'}), "tenants"),
    "secret": (changed(algorithms='["HS256"]'), "algorithms"),
    "none": (changed(algorithms='["none"]'), "algorithms"),
    "no algorithm": (changed(algorithms="[]"), "algorithms"),
    "no type": (changed(types="[]"), "types"),
    "no lifetime": (changed(max_lifetime_seconds="0"), "max_lifetime_seconds"),
    "endless lifetime": (changed(max_lifetime_seconds="86401"), "max_lifetime_seconds"),
    "no interval": (changed(refresh_seconds="0"), "refresh_seconds"),
    "unknown claim": (changed(claims={"name": '"n"'}), "name"),
    "empty claim": (changed(claims={"email": '""'}), "email"),
    "http": (changed(jwks_url='"http://idp.example/keys"'), "https"),
    "http by a name like loopback": (changed(jwks_url='"http://localhost.evil.test/"'), "https"),
    "http by an address like loopback": (
        changed(jwks_url='"http://127.0.0.1.evil.test/"'),
        "https",
    ),
    "http by user name": (changed(jwks_url='"http://127.0.0.1@evil.test/"'), "user name"),
    "file": (changed(jwks_url='"file:///etc/keys"'), "jwks_url"),
    "no host": (changed(jwks_url='"https:///keys"'), "jwks_url"),
    "no port": (changed(jwks_url='"https://idp.example:99999/"'), "ort"),
    "blank": (changed(jwks_url='"https://idp.example/a b"'), "jwks_url"),
    "line break": (changed(jwks_url='"https://idp.example/\\r\\nX: y"'), "jwks_url"),
    "no ASCII": (changed(jwks_url='"https://idp.example/ä"'), "jwks_url"),
    "fragment": (changed(jwks_url='"https://idp.example/#keys"'), "fragment"),
    "same issuer twice": (GOOD + GOOD, "https://idp.example/ is listed twice"),
    "our own issuer": (changed(issuer='"https://saas.example"'), "SAAS_JWT_ISSUER"),
    "the platform's audience": (changed(audience='"saas-platform"'), "platform"),
    "too long": (GOOD + "#" * 100_000, "longer"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_wrong_entry_stops_the_start_in_one_line(text, words):
    with pytest.raises(ConfigurationError) as refusal:
        issuers_from(Settings(issuers=text))

    assert str(refusal.value).startswith("SAAS_ISSUERS")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_file_of_issuers_is_read_like_any_setting(tmp_path):
    (tmp_path / "issuers.toml").write_text(GOOD)

    settings = load_settings({"SAAS_ISSUERS_FILE": str(tmp_path / "issuers.toml")})

    assert issuers_from(settings) == issuers_from(Settings(issuers=GOOD))


def test_file_of_keys_is_read_at_the_start(tmp_path):
    path = tmp_path / "keys.json"
    settings = Settings(issuers=changed(jwks_url=None, jwks_file=json.dumps(str(path))))
    path.write_text(json.dumps({"keys": [jwk_of("ES256", private_key("ES256"), None)]}))
    assert external_issuers_from(settings)

    for text in ("", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}', "[" * 9_000):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"keys\.json") as refusal:
            external_issuers_from(settings)
        assert "\n" not in str(refusal.value)
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"keys\.json"):
        external_issuers_from(settings)
