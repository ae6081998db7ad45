"""An archive that somebody has sent, opened: nothing in it is believed. No member is ever written
to a path, none is read whole, and each has its bounds before it is read."""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

import msgspec

from saas.errors import BadRequest, InvalidArchive
from saas.portability.manifest import FORMAT, MEMBER, Manifest, TableEntry, digest_of, file_of

_MOST_MEMBERS = 1_000
_MOST_MANIFEST_BYTES = 4 * 1024 * 1024
_MOST_LINE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 512 * 1024
# What is smaller than this unpacked is no bomb; the rows of a larger table do not pack so well, for
# each has an id of its own.
_MOST_RATIO, _NO_BOMB_BYTES = 250, 16 * 1024 * 1024
_FAULTS = (
    BadZipFile,
    LargeZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
    struct.error,
    zlib.error,
)
_ENCRYPTED = 0x1


class OpenArchive:
    """The archive in `file`, which is at its begin. Raises BadRequest for what is no whole zip
    archive, InvalidArchive for one that is none of ours or is not what it says."""

    def __init__(self, file: IO[bytes]) -> None:
        size = file.seek(0, os.SEEK_END)
        try:
            self._zip = ZipFile(_SmallReads(file, size))
        except _FAULTS as fault:
            raise _unreadable() from fault
        members = {info.filename: info for info in self._zip.infolist()}
        _check_members(self._zip.infolist(), size)
        self.manifest = self._read_manifest(members)
        _check_manifest(self.manifest, members)

    def chunks(self, table: TableEntry) -> Iterator[list[bytes]]:
        """The lines of a table, some hundred at a time. Raises InvalidArchive at the end where they
        are not those of the manifest."""
        digest = hashlib.sha256()
        rows, rest = 0, b""
        for chunk in self._read(table.file):
            digest.update(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            rows += len(lines)
            if rows > table.rows:
                break
            if len(rest) > _MOST_LINE_BYTES:
                raise InvalidArchive(f"{table.file}: line {rows + 1} is too long.")
            if lines:
                yield lines
        if rows != table.rows:
            raise InvalidArchive(f"{table.file}: it does not have the {table.rows} rows it should.")
        if rest:
            raise InvalidArchive(f"{table.file}: the last line has no end.")
        if digest.hexdigest() != table.sha256:
            raise InvalidArchive(f"{table.file}: its SHA-256 is not that of the manifest.")

    def _read(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(name) as member:
                while chunk := member.read(_CHUNK_BYTES):
                    yield chunk
        except _FAULTS as fault:
            raise _unreadable(name) from fault

    def _read_manifest(self, members: dict[str, ZipInfo]) -> Manifest:
        info = members.get(MEMBER)
        if info is None:
            raise InvalidArchive(f"There is no {MEMBER}: this is no archive of a tenant.")
        if info.file_size > _MOST_MANIFEST_BYTES:
            raise InvalidArchive(f"{MEMBER} is too large.")
        text = b"".join(self._read(MEMBER))
        try:
            # Its own look first: another format may have other fields.
            found = msgspec.json.decode(text, type=_Format).format
            if found != FORMAT:
                raise InvalidArchive(f"{MEMBER}: this version reads format {FORMAT}, not {found}.")
            return msgspec.json.decode(text, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise InvalidArchive(f"{MEMBER}: {fault}.") from None


class _Format(msgspec.Struct):
    format: int


class _SmallReads:
    """A file as the zip module needs it. The module reads the list of members at once, however long
    the file says that it is; a real one is short."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._file.tell()
        if (left if count < 0 else min(count, left)) > 2 * _CHUNK_BYTES:
            raise BadZipFile("too much at once")
        return self._file.read(count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset < 0:
            raise BadZipFile("a member before the begin")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _unreadable(member: str = "") -> BadRequest:
    place = f"{member} cannot be read: it" if member else "It"
    return BadRequest(f"The body is no whole zip archive. {place} is damaged or was cut off.")


def _check_members(infos: list[ZipInfo], size: int) -> None:
    names = [info.filename for info in infos]
    if len(names) > _MOST_MEMBERS or len(set(names)) != len(names):
        raise InvalidArchive("It has more members than an archive can have, or one of them twice.")
    if sum(info.compress_size for info in infos) > size:
        # Members that lie over each other unpack to far more than was sent.
        raise InvalidArchive("Its members are larger than it is.")
    for info in infos:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise InvalidArchive(f"{_shown(info)} is encrypted or packed in an unknown way.")
        most = max(_NO_BOMB_BYTES, info.compress_size * _MOST_RATIO)
        if info.file_size > most:
            raise InvalidArchive(f"{_shown(info)} would unpack to more than {_MOST_RATIO} times.")


def _check_manifest(manifest: Manifest, members: dict[str, ZipInfo]) -> None:
    files = [table.file for table in manifest.tables]
    names = {table.name for table in manifest.tables}
    if len(names) != len(files) or any(t.file != file_of(t.name) for t in manifest.tables):
        raise InvalidArchive(f"{MEMBER}: a table stands twice, or its file is not named for it.")
    if unknown := sorted(members.keys() - {*files, MEMBER}):
        raise InvalidArchive(f"{_shown(members[unknown[0]])} is not in the manifest.")
    for table in manifest.tables:
        info = members.get(table.file)
        if info is None:
            raise InvalidArchive(f"{table.file} is missing.")
        if info.file_size != table.bytes:
            raise InvalidArchive(f"{table.file}: it does not have the size it should.")
    if digest_of(manifest.tables) != manifest.digest:
        raise InvalidArchive(f"{MEMBER}: the digest is not that of its tables.")


def _shown(info: ZipInfo) -> str:
    """The name is the sender's own: shortened, and nothing in it means anything."""
    return ascii(info.filename[:80])
