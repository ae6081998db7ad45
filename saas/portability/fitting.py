"""Whether an archive can become a tenant here: its tables, columns and types against the models."""

from typing import NamedTuple

from saas.db.migrate import known_revisions
from saas.db.models import table_of
from saas.db.portable import PortableTable, may_be_absent, own_columns, portable_tables, type_of
from saas.errors import InvalidArchive
from saas.portability.manifest import MEMBER, Manifest, TableEntry
from saas.tenancy.models import Tenant


class Fitted(NamedTuple):
    """A table of this installation, and what the archive holds for it."""

    portable: PortableTable
    entry: TableEntry


def fitted_tables(manifest: Manifest) -> list[Fitted]:
    """The archive's tables in the order of this installation, parents first. Raises InvalidArchive
    for what this version does not know; columns that it knows and the archive lacks, as one made
    by an older version does, take their defaults."""
    if manifest.schema_revision not in known_revisions():
        raise InvalidArchive(
            f"{MEMBER}: the schema revision {manifest.schema_revision!a} is newer than this "
            "version or another product's. Update this installation first."
        )
    here = {portable.name: portable for portable in portable_tables()}
    entries = {entry.name: entry for entry in manifest.tables}
    for name in entries.keys() - here.keys():
        raise InvalidArchive(f"{MEMBER}: there is no table {name[:80]!a} here.")
    for name in manifest.tenant.keys() - {column.name for column in own_columns(table_of(Tenant))}:
        raise InvalidArchive(f"{MEMBER}: tenants have no column {name[:80]!a} here.")
    for entry in manifest.tables:
        _check_columns(here[entry.name], entry)
    return [Fitted(here[name], entries[name]) for name in here if name in entries]


def _check_columns(portable: PortableTable, entry: TableEntry) -> None:
    known = {column.name: column for column in portable.columns}
    for name, kind in ((column.name, column.type) for column in entry.columns):
        if name not in known:
            raise InvalidArchive(f"{MEMBER}: {entry.name} has no column {name[:80]!a} here.")
        if kind != type_of(known[name]):
            raise InvalidArchive(
                f"{MEMBER}: {entry.name}.{name} is {type_of(known[name])} here, not {kind[:80]!a}."
            )
    if len(set(entry.column_names)) != len(entry.columns):
        raise InvalidArchive(f"{MEMBER}: a column of {entry.name} stands twice.")
    for name in known.keys() - set(entry.column_names):
        if name == "id" or not may_be_absent(known[name]):
            raise InvalidArchive(f"{MEMBER}: {entry.name} lacks the column {name}.")
