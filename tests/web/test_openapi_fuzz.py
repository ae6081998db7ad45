"""The running server, attacked by what its own OpenAPI document says: every documented status,
header and body is compared with what comes. Schemathesis finds the operations in the document.

`FUZZ_EXAMPLES` (per operation) makes a run longer, `FUZZ_SEED` another one.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from live_server import live_server
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings

pytestmark = pytest.mark.long

_FOLDER = Path(__file__).parent / "fuzz"


def test_server_does_what_its_document_says(
    postgres: EmbeddedPostgres, settings: Settings, tmp_path: Path
) -> None:
    examples = os.environ.get("FUZZ_EXAMPLES", "4")
    seed = os.environ.get("FUZZ_SEED", "1")

    with live_server(postgres, settings, "fuzzed") as server:
        variables = {
            "FUZZ_FOLDER": str(_FOLDER),
            "FUZZ_SEED": seed,
            "FUZZ_DATABASE": server.database,
            "FUZZ_TENANT": server.slug,
            "FUZZ_TENANT_KEY": server.key,
            "FUZZ_PLATFORM_KEY": server.platform_key,
        }
        options = ["--max-examples", examples, "--seed", seed]
        done = _schemathesis(f"{server.url}/openapi.json", *options, env=variables, cwd=tmp_path)

    assert done.returncode == 0, done.stdout


def _schemathesis(url: str, *options: str, env: dict[str, str], cwd: Path) -> Any:
    config = str(_FOLDER / "schemathesis.toml")
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", url, *options],
        cwd=cwd,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
