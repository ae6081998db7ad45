"""Archives in the hands of a test: to look into, and to spoil."""

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

Members = dict[str, bytes]
MANIFEST = "manifest.json"


def members_of(archive: bytes) -> Members:
    with ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {info.filename: opened.read(info) for info in opened.infolist()}


def packed(members: Members) -> bytes:
    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def manifest_of(archive: bytes) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(members_of(archive)[MANIFEST])
    return manifest


def rows_of(archive: bytes, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in members_of(archive)[f"{table}.jsonl"].splitlines()]


def digests_of(archive: bytes) -> dict[str, str]:
    return {entry["name"]: entry["sha256"] for entry in manifest_of(archive)["tables"]}


def with_manifest(archive: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The archive with `change` made to its manifest, which then agrees with itself."""
    members = members_of(archive)
    manifest = json.loads(members[MANIFEST])
    change(manifest)
    lines = "".join(f"{t['sha256']}  {t['file']}\n" for t in manifest["tables"])
    manifest["digest"] = hashlib.sha256(lines.encode()).hexdigest()
    return packed({**members, MANIFEST: json.dumps(manifest).encode()})


def with_lines(archive: bytes, table: str, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The archive with other lines of one table, which its manifest says to be right."""
    members = members_of(archive)
    name = f"{table}.jsonl"
    members[name] = b"".join(change(members[name].splitlines(keepends=True)))

    def agree(manifest: dict[str, Any]) -> None:
        entry = next(entry for entry in manifest["tables"] if entry["name"] == table)
        entry["bytes"] = len(members[name])
        entry["rows"] = members[name].count(b"\n")
        entry["sha256"] = hashlib.sha256(members[name]).hexdigest()

    return with_manifest(packed(members), agree)


def with_rows(archive: bytes, table: str, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The archive with `change` made to each row of a table, written as an export writes it."""

    def changed(lines: list[bytes]) -> list[bytes]:
        rows = [json.loads(line) for line in lines]
        for row in rows:
            change(row)
        # The one place where spaces stand is inside of jsonb.
        return [
            json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            for row in rows
        ]

    return with_lines(archive, table, changed)
