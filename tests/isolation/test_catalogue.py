"""What PostgreSQL itself says of every table: no key, no reference and no index without a tenant,
and no table that row-level security forgets."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Table

from isolation.raw import Connection, Raw
from saas.db.models import Base, tenant_tables
from saas.db.roles import APP, PLATFORM

TABLES = tenant_tables()
by_table = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])

_KEYS = """
SELECT c.conname, c.contype, array(
    SELECT attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute ON attrelid = c.conrelid AND attnum = number ORDER BY place),
  array(
    SELECT attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute ON attrelid = c.confrelid AND attnum = number ORDER BY place),
  c.convalidated, c.confdeltype
FROM pg_constraint AS c WHERE c.conrelid = %s::regclass AND c.contype IN ('p', 'u', 'f', 'x')"""

_INDEXES = """
SELECT i.indexrelid::regclass::text, i.indisunique, i.indisvalid,
  (SELECT attname FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0])
FROM pg_index AS i WHERE i.indrelid = %s::regclass"""

_WITH_TENANT = """
SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE attname = 'tenant_id' AND relkind IN ('r', 'p', 'v', 'm', 'f')
  AND relnamespace = 'public'::regnamespace"""

_READABLE_WITHOUT_SECURITY = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT (relrowsecurity AND relforcerowsecurity)
  AND (has_any_column_privilege(%(app)s, pg_class.oid, 'SELECT, INSERT, UPDATE')
       OR has_any_column_privilege(%(platform)s, pg_class.oid, 'SELECT, INSERT, UPDATE'))"""


@pytest.fixture
def catalogue(raw: Raw) -> Iterator[Connection]:
    with raw.acting_as(APP) as connection:
        yield connection


def _asked(connection: Connection, question: str, *values: Any) -> list[tuple[Any, ...]]:
    return connection.execute(question, values).fetchall()


@by_table
def test_every_key_and_reference_starts_with_the_tenant(
    table: Table, catalogue: Connection
) -> None:
    keys = _asked(catalogue, _KEYS, table.name)

    assert [columns for _, kind, columns, *_ in keys if kind == "p"] == [["tenant_id", "id"]]
    for name, kind, columns, referenced, is_valid, _ in keys:
        assert columns[0] == "tenant_id", name
        assert is_valid, name
        if kind == "f":
            assert referenced[0] == "tenant_id", name


@by_table
def test_every_reference_of_the_model_is_a_key_in_the_database(
    table: Table, catalogue: Connection
) -> None:
    declared = {c.name for c in table.columns if "references" in c.info}

    keys = [key for key in _asked(catalogue, _KEYS, table.name) if key[1] == "f"]

    assert {columns[1] for _, _, columns, *_ in keys if len(columns) == 2} >= declared
    for name, _, _, _, _, on_delete in keys:
        # SET NULL and SET DEFAULT would clear the tenant of a child.
        assert on_delete in "acr", name


@by_table
def test_every_index_starts_with_the_tenant(table: Table, catalogue: Connection) -> None:
    indexes = _asked(catalogue, _INDEXES, table.name)

    assert any(is_unique for _, is_unique, _, _ in indexes)
    for name, _, is_valid, first in indexes:
        assert first == "tenant_id", name
        assert is_valid, name


def test_every_table_with_a_tenant_is_declared_as_one(catalogue: Connection) -> None:
    found = {name for (name,) in _asked(catalogue, _WITH_TENANT)}

    assert found == {table.name for table in TABLES}
    for table in Base.metadata.tables.values():
        if table.info.get("tenancy") != "tenant":
            assert "tenant_id" not in table.c, table.name


def test_what_the_app_may_touch_without_row_security_is_no_tenants(catalogue: Connection) -> None:
    roles = {"app": APP, "platform": PLATFORM}

    found = {name for (name,) in catalogue.execute(_READABLE_WITHOUT_SECURITY, roles).fetchall()}

    control = {t.name for t in Base.metadata.tables.values() if t.info.get("tenancy") == "control"}
    assert found <= control | {"alembic_version"}
    assert "tenants" not in found


def test_no_type_under_a_tenants_index_is_without_leakproof_operators(
    catalogue: Connection,
) -> None:
    question = """
        SELECT DISTINCT relname, attname, format_type(atttypid, NULL)
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        JOIN pg_opclass ON pg_opclass.oid = ANY (indclass)
        JOIN pg_amop ON amopfamily = opcfamily
        JOIN pg_operator AS o ON o.oid = amopopr
        JOIN pg_proc AS p ON p.oid = o.oprcode
        WHERE relname = ANY (%s) AND NOT p.proleakproof
          AND amoplefttype = atttypid AND amoprighttype = atttypid"""

    assert _asked(catalogue, question, [table.name for table in TABLES]) == []
