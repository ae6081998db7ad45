"""Settings: each is documented with its default, and a bad one is told in a line."""

import re
from pathlib import Path

import msgspec
import pytest

from saas.errors import ConfigurationError
from saas.installation import as_environment, resolved
from saas.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"


def test_example_shows_each_setting_with_its_default_and_nothing_else() -> None:
    shown = dict(re.findall(r"^#SAAS_([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))

    defaults = {}
    for field in msgspec.structs.fields(Settings):
        default = "" if field.default is None else str(field.default)
        defaults[field.name.upper()] = default.lower() if default in {"True", "False"} else default
    assert shown == defaults


def test_example_as_it_stands_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [field.name for field in msgspec.structs.fields(Settings)]:
        monkeypatch.delenv(f"SAAS_{name.upper()}", raising=False)

    assert load_settings(env_file=str(EXAMPLE)) == Settings()


BAD = {
    "unknown": ({"SAAS_PROT": "1"}, "SAAS_PROT is no setting"),
    "wrong type": ({"SAAS_PORT": "eighty"}, "SAAS_PORT: Expected `int`"),
    "out of range": ({"SAAS_PORT": "70000"}, "SAAS_PORT: Expected `int` <= 65535"),
    "no such word": ({"SAAS_SERVER": "apache"}, "SAAS_SERVER: "),
    "cache too long": ({"SAAS_PRINCIPAL_CACHE_SECONDS": "60"}, "SAAS_PRINCIPAL_CACHE_SECONDS: "),
    "file that is not there": ({"SAAS_JWT_SECRET_FILE": "/nowhere/x"}, "cannot read /nowhere/x"),
    "one address of two": ({"SAAS_PLATFORM_DATABASE_URL": "x"}, "SAAS_DATABASE_URL is missing"),
}


@pytest.mark.parametrize(("environ", "words"), BAD.values(), ids=BAD)
def test_bad_setting_is_told_in_one_line(environ: dict[str, str], words: str) -> None:
    assert load_settings({"SAAS_PORT": "81"}).port == 81

    with pytest.raises(ConfigurationError) as refusal:
        load_settings(environ)

    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_value_and_file_contradict_each_other(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 40 + "\n")

    assert load_settings({"SAAS_JWT_SECRET_FILE": str(secret)}).jwt_secret == "x" * 40
    with pytest.raises(ConfigurationError, match="set twice"):
        load_settings({"SAAS_JWT_SECRET_FILE": str(secret), "SAAS_JWT_SECRET": "y" * 40})


def test_environment_takes_the_place_of_a_file_named_in_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from the file, long enough to sign")
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"SAAS_JWT_SECRET_FILE={tmp_path / 'secret'}\n")

    assert load_settings(env_file=str(dotenv)).jwt_secret == "from the file, long enough to sign"
    monkeypatch.setenv("SAAS_JWT_SECRET", "y" * 40)
    assert load_settings(env_file=str(dotenv)).jwt_secret == "y" * 40


def test_another_process_gets_these_very_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("k" * 40)
    monkeypatch.setenv("SAAS_PLATFORM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SAAS_ACCESS_LOG", "false")
    settings = load_settings(env_file="")

    handed_on = as_environment(settings)

    assert "SAAS_PLATFORM_KEY_FILE" not in handed_on
    assert load_settings(handed_on) == settings


def test_secrets_are_made_once_and_never_in_production(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))

    made = resolved(settings)

    assert made.platform_key == resolved(settings).platform_key
    assert made.jwt_secret is not None
    assert len(made.jwt_secret) >= 32
    assert {f.stat().st_mode & 0o777 for f in (tmp_path / "data").iterdir() if f.is_file()} == {
        0o600
    }
    with pytest.raises(ConfigurationError, match="needed in production"):
        resolved(msgspec.structs.replace(settings, environment="prod"))


@pytest.mark.parametrize("name", ["platform_key", "metrics_token", "sealing_secret"])
def test_short_secret_is_refused_in_production(name: str) -> None:
    good = Settings(
        environment="prod",
        database_url="x",
        platform_database_url="y",
        platform_key="k" * 32,
        jwt_secret="s" * 32,
    )

    assert resolved(good).platform_key == "k" * 32
    with pytest.raises(ConfigurationError, match="fewer than 32"):
        resolved(msgspec.structs.replace(good, **{name: "short"}))
