"""What a stranger may send instead of an archive: each spoils a good one in one way."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4
from zipfile import ZIP_BZIP2, ZipFile, ZipInfo

import pytest
from archives import MANIFEST, members_of, packed, with_lines, with_manifest, with_rows

Spoil = Callable[[bytes], bytes]
FOREIGN = str(uuid4())


def table(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in manifest["tables"] if t["name"] == name)
    return found


def with_member(name: str, content: bytes = b"") -> Spoil:
    return lambda archive: packed({**members_of(archive), name: content})


def without(name: str) -> Spoil:
    return lambda a: packed({n: c for n, c in members_of(a).items() if n != name})


def with_bytes(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda a: packed({n: change(c) if n == name else c for n, c in members_of(a).items()})


def manifest(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    return lambda archive: with_manifest(archive, change)


def column(table_name: str, **values: str) -> Spoil:
    """Another entry for the first column of `projects` after the id."""
    return manifest(lambda m: table(m, table_name)["columns"][1].update(values))


def rows(name: str, change: Callable[[dict[str, Any]], Any]) -> Spoil:
    return lambda archive: with_rows(archive, name, change)


def lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Spoil:
    return lambda archive: with_lines(archive, name, change)


def repacked(**options: Any) -> Spoil:
    """Each member packed in another way."""

    def spoil(archive: bytes) -> bytes:
        out = io.BytesIO()
        with ZipFile(out, "w") as made:
            for name, content in members_of(archive).items():
                made.writestr(ZipInfo(name), content, **options)
        return out.getvalue()

    return spoil


def encrypted(archive: bytes) -> bytes:
    """The flag alone, of each member, in the directory and before it."""
    spoilt = bytearray(packed(members_of(archive)))
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = spoilt.find(signature)
        while at >= 0:
            spoilt[at + place] |= 1
            at = spoilt.find(signature, at + 4)
    return bytes(spoilt)


def twice(archive: bytes) -> bytes:
    out = io.BytesIO(archive)
    with ZipFile(out, "a") as made, pytest.warns(UserWarning, match="Duplicate name"):
        made.writestr(MANIFEST, b"{}")
    return out.getvalue()


def bomb(archive: bytes) -> bytes:
    """A table of one endless line: it would unpack to a thousand times its size."""
    return with_lines(archive, "projects", lambda _: [b" " * 17_000_000 + b"\n"])


def overlapping(archive: bytes) -> bytes:
    """A directory in which many members are the same bytes of the file."""
    content = zlib.compress(b"\n" * 1_000_000)[2:-4]
    local = struct.pack(
        "<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 33, 0, len(content), 1_000_000, 1, 0
    )
    entries = b"".join(
        struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, 0,
            len(content), 1_000_000, len(name), 0, 0, 0, 0, 0, 0,
        ) + name
        for name in (f"{n:03}.jsonl".encode() for n in range(900))
    )  # fmt: skip
    body = local + b"x" + content
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 900, 900, len(entries), len(body), 0)
    return body + entries + end


def crowded(_: bytes) -> bytes:
    """Nothing but a directory, as large as the file: to read it takes ten times the memory."""
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0
    )
    entries = (entry + b"x") * 60_000
    return entries + struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 65_535, 65_535, len(entries), 0, 0
    )


def corrupt(archive: bytes) -> bytes:
    """A flipped bit in the middle of a member."""
    spoilt = bytearray(archive)
    spoilt[spoilt.find(b"audit_log.jsonl") + 200] ^= 0x10
    return bytes(spoilt)


UNREADABLE: dict[str, Spoil] = {
    "empty": lambda _: b"",
    "no zip at all": lambda _: b"id,name\n1,x\n",
    "random": lambda _: bytes(range(256)) * 100,
    "cut off before its directory": lambda archive: archive[:-400],
    "cut off in the middle": lambda archive: archive[: len(archive) // 2],
    "cut off at the last byte": lambda archive: archive[:-1],
    "without its begin": lambda archive: archive[500:],
    "corrupt": corrupt,
    "a directory for millions": crowded,
}
INVALID: dict[str, tuple[Spoil, str]] = {
    "no manifest": (without(MANIFEST), MANIFEST),
    "empty manifest": (with_bytes(MANIFEST, lambda _: b""), MANIFEST),
    "manifest is a list": (with_bytes(MANIFEST, lambda _: b"[]"), MANIFEST),
    "manifest is deep": (with_bytes(MANIFEST, lambda _: b"[" * 100_000), MANIFEST),
    "manifest is no UTF-8": (
        with_bytes(MANIFEST, lambda c: c.replace(b"tenant", b"\xff")),
        MANIFEST,
    ),
    "manifest is huge": (with_bytes(MANIFEST, lambda c: c + b" " * 5_000_000), "too large"),
    "another format": (manifest(lambda m: m.update(format=2)), "format 1, not 2"),
    "unknown field": (manifest(lambda m: m.update(more=1)), "more"),
    "newer schema": (manifest(lambda m: m.update(schema_revision="9999")), "newer"),
    "no tenant's id": (manifest(lambda m: m["tenant"].pop("id")), "id"),
    "malformed id": (manifest(lambda m: m["tenant"].update(id="1")), "tenant"),
    "malformed slug": (manifest(lambda m: m["tenant"].update(slug="../x")), "slug"),
    "slug is no text": (manifest(lambda m: m["tenant"].update(slug=1)), "slug"),
    "tenant without a name": (manifest(lambda m: m["tenant"].update(name=None)), "tenant"),
    "tenant with a long name": (manifest(lambda m: m["tenant"].update(name="n" * 121)), "tenant"),
    "column that tenants lack": (manifest(lambda m: m["tenant"].update(x=1)), "'x'"),
    "limits that are none": (
        manifest(lambda m: m["tenant"].update(limit_overrides={"members": "many"})),
        "limit_overrides",
    ),
    "tenant of no time": (
        manifest(lambda m: m["tenant"].update(created_at="infinity")),
        "created_at",
    ),
    "tenant of a later age": (
        manifest(lambda m: m["tenant"].update(updated_at="20000-01-01T00:00:00+00:00")),
        "updated_at",
    ),
    "row of a later age": (
        rows("projects", lambda row: row.update(created_at="20000-01-01T00:00:00+00:00")),
        "projects.jsonl, line 1: created_at is no time",
    ),
    "row before Christ": (
        rows("tasks", lambda row: row.update(due_on="0044-03-15 BC")),
        "tasks.jsonl, line 1: due_on is no time",
    ),
    "unknown member": (with_member("readme.txt"), "readme.txt"),
    "member outside": (with_member("../../etc/passwd", b"x"), "../../etc/passwd"),
    "absolute member": (with_member("/etc/cron.d/x", b"x"), "/etc/cron.d/x"),
    "member with controls": (with_member("a\x1b[31m\n.jsonl"), "not in the manifest"),
    "member twice": (twice, "twice"),
    "table file missing": (without("tasks.jsonl"), "tasks.jsonl is missing"),
    "table twice": (manifest(lambda m: m["tables"].append(m["tables"][0])), "twice"),
    "file of another name": (
        manifest(lambda m: m["tables"][0].update(file="tasks.jsonl")),
        "twice",
    ),
    "unknown table": (
        manifest(
            lambda m: (m["tables"][0].update(name="x"), m["tables"][0].update(file="x.jsonl"))
        ),
        "api_key_uses.jsonl' is not in the manifest",
    ),
    "another tenant's table": (
        lambda a: with_manifest(
            packed({**members_of(a), "tenants.jsonl": b""}),
            lambda m: m["tables"].append(
                {**m["tables"][0], "name": "tenants", "file": "tenants.jsonl"}
            ),
        ),
        "no table 'tenants'",
    ),
    "table that never travels": (
        lambda a: with_manifest(
            packed({**members_of(a), "access_grants.jsonl": b""}),
            lambda m: m["tables"].append(
                {**table(m, "invitations"), "name": "access_grants", "file": "access_grants.jsonl"}
                | {"bytes": 0, "rows": 0}
            ),
        ),
        "no table 'access_grants'",
    ),
    "unknown column": (column("projects", name="x"), "no column 'x'"),
    "tenant as a column": (column("projects", name="tenant_id"), "no column 'tenant_id'"),
    "column that is SQL": (column("projects", name='name"; DROP TABLE'), "no column"),
    "column of another type": (column("projects", type="INTEGER"), "projects.name is VARCHAR"),
    "column twice": (
        manifest(lambda m: table(m, "projects")["columns"].append({"name": "id", "type": "UUID"})),
        "twice",
    ),
    "wrong digest of the whole": (
        with_bytes(MANIFEST, lambda c: json.dumps(json.loads(c) | {"digest": "0" * 64}).encode()),
        "digest",
    ),
    "wrong digest of a table": (
        manifest(lambda m: table(m, "projects").update(sha256="0" * 64)),
        "projects.jsonl: its SHA-256",
    ),
    "one row too few": (manifest(lambda m: table(m, "tasks").update(rows=99)), "99 rows"),
    "one row too many": (manifest(lambda m: table(m, "tasks").update(rows=0)), "0 rows"),
    "negative rows": (manifest(lambda m: table(m, "tasks").update(rows=-1)), "-1 rows"),
    "absurd rows": (manifest(lambda m: table(m, "tasks").update(rows=10**30)), "tasks.jsonl"),
    "wrong size": (manifest(lambda m: table(m, "tasks").update(bytes=1)), "tasks.jsonl"),
    "encrypted": (encrypted, "encrypted"),
    "packed in another way": (repacked(compress_type=ZIP_BZIP2), "unknown way"),
    "bomb": (bomb, "250 times"),
    "overlapping members": (overlapping, "larger than it is"),
    "last line without an end": (lines("tasks", lambda ls: [*ls[:-1], ls[-1] + b"x"]), "end"),
    "empty line": (lines("tasks", lambda ls: [*ls, b"\n"]), "line 5: it is no JSON object"),
    "line that is a list": (lines("tasks", lambda ls: [*ls, b"[]\n"]), "line 5"),
    "line of two objects": (
        lines("tasks", lambda ls: [ls[0][:-1] + b"," + ls[1], *ls[2:]]),
        "line 1",
    ),
    "line that is no UTF-8": (
        lines("projects", lambda ls: [ls[0].replace(b"Project", b"\xff\xfe")]),
        "projects.jsonl, line 1",
    ),
    "line that is deep": (
        lines("audit_log", lambda ls: [b'{"id":' + b"[" * 200_000 + b"\n"]),
        "audit_log.jsonl, line 1",
    ),
    "row with a tenant": (
        rows("tasks", lambda r: r.update(tenant_id=FOREIGN)),
        "tasks.jsonl, line 1",
    ),
    "row without a column": (rows("tasks", lambda r: r.pop("title")), "tasks.jsonl, line 1"),
    "row with one more": (rows("tasks", lambda r: r.update(x=1)), "tasks.jsonl, line 1"),
    "id twice": (lines("projects", lambda ls: [*ls, ls[0]]), "projects.jsonl, lines 1 to 4"),
    "name twice": (
        rows("projects", lambda r: r.update(name="Same")),
        "projects.jsonl, lines 1 to 3",
    ),
    "id that is none": (rows("projects", lambda r: r.update(id="1")), "projects.jsonl"),
    "id that is null": (rows("projects", lambda r: r.update(id=None)), "projects.jsonl"),
    "no name": (rows("projects", lambda r: r.update(name=None)), "projects.jsonl"),
    "name that is a number": (
        rows("projects", lambda r: r.update(name=r["name"], version="x")),
        "projects",
    ),
    "name that is an object": (
        rows("projects", lambda r: r.update(description={"a": 1})),
        "projects.jsonl: what was stored is not what it says",
    ),
    "text with a NUL": (
        lines("projects", lambda ls: [ls[0].replace(b"Project 0", b"Pro\\u0000ject"), *ls[1:]]),
        "projects.jsonl",
    ),
    "half a surrogate": (
        lines("projects", lambda ls: [ls[0].replace(b"Project 0", b"\\ud800"), *ls[1:]]),
        "projects.jsonl",
    ),
    "long name": (rows("projects", lambda r: r.update(name="n" * 121 + r["id"])), "projects.jsonl"),
    "large number": (rows("projects", lambda r: r.update(budget_cents=2**63)), "projects.jsonl"),
    "infinite number": (
        lines("projects", lambda ls: [x.replace(b"9007199254740993", b"1e999999") for x in ls]),
        "projects.jsonl",
    ),
    "status that is none": (rows("tasks", lambda r: r.update(status="x")), "tasks.jsonl"),
    "time that is none": (rows("tasks", lambda r: r.update(created_at="soon")), "tasks.jsonl"),
    "reference to nothing": (rows("tasks", lambda r: r.update(project_id=FOREIGN)), "tasks.jsonl"),
    "spaces where none are": (
        lines("projects", lambda ls: [x.replace(b'":', b'" : ') for x in ls]),
        "projects.jsonl: what was stored is not what it says, or not as an export writes it",
    ),
    "another order": (
        lines("projects", lambda ls: ls[::-1]),
        "projects.jsonl: what was stored is not what it says, or not as an export writes it",
    ),
    "permissions that are none": (rows("api_keys", lambda r: r.update(permissions=5)), "api_keys"),
    "permissions that are no names": (
        rows("api_keys", lambda r: r.update(permissions=["projects:read", 5])),
        "api_keys",
    ),
    "nobody who owns it": (rows("members", lambda r: r.update(role="admin")), "active owner"),
    "entry that says import": (rows("audit_log", lambda r: r.update(action="import")), "audit_log"),
    "import that says insert": (
        manifest(lambda m: m["imports"].append({"action": "insert"})),
        "imports: one is no such entry",
    ),
    "entry that nobody can read": (
        rows("audit_log", lambda r: r["changes"].pop("new")),
        "audit_log.changes: it is not old and new values",
    ),
    "tenant that is being deleted": (
        manifest(lambda m: m["tenant"].update(status="deleting")),
        "manifest.json: tenant: Invalid enum value",
    ),
    "limit that is none": (
        manifest(lambda m: m["tenant"].update(limit_overrides={"rows": -1})),
        "manifest.json: tenant: Expected `int` >= 1",
    ),
    "tenant with the end of another": (
        manifest(lambda m: m["tenant"].update(deletion={"started_at": "now"})),
        "tenants have no column 'deletion' here",
    ),
    "entry that no index holds": (
        rows("audit_log", lambda r: r.update(entity="".join(uuid4().hex for _ in range(400)))),
        "audit_log.jsonl",
    ),
}
