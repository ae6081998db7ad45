"""What the models declare and the database has not: tables, columns, guards, functions, keys."""

from collections.abc import Collection
from typing import Any

import psycopg

from saas.db.catalog import DEFINER_FUNCTIONS, Catalogue, read_catalogue, required_function
from saas.db.doctor_findings import Findings
from saas.db.drift import security_changes
from saas.db.models import Base
from saas.db.rls import Security, required_security

_COLUMNS = """
    SELECT relname, array_agg(attname::text) FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') GROUP BY relname"""
_KEYS = """
    SELECT conname FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND convalidated
    UNION SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND indisvalid"""


def guarded_tables() -> list[Any]:
    """The tables of the models that are imported and guarded by row-level security."""
    return [table for table in Base.metadata.sorted_tables if required_security(table)]


def inspect_models(
    connection: psycopg.Connection[Any], *, is_ahead: bool, is_behind: bool
) -> Findings:
    """In what the database differs from the models. What a newer version may have changed is a
    warning where the database `is_ahead`; where it `is_behind`, migrations are there already."""
    advice = (
        "."
        if is_ahead or is_behind
        else ": write a migration (`alembic revision --autogenerate`) and run `saas migrate`."
    )
    catalogue, columns = read_catalogue(connection), _columns(connection)
    lacking: list[str] = []
    drift = Findings()
    for table in guarded_tables():
        actual, required = catalogue.tables.get(table.name), required_security(table)
        if actual is None or required is None:
            lacking.append(f"Table {table.name} is missing{advice}")
            continue
        missing = [c.name for c in table.columns if c.name not in columns[table.name]]
        lacking += (f"Table {table.name} lacks the column {name}{advice}" for name in missing)
        drift += _drift(actual, _without(required, missing), is_ahead=is_ahead)
    functions = _functions(catalogue)
    return (
        # Before all that follows from it.
        _found(lacking, is_warning=False)
        + drift
        + _found(functions, is_warning=is_ahead)
        + _found(_missing_keys(connection), is_warning=False)
    )


def _drift(actual: Security, required: Security, *, is_ahead: bool) -> Findings:
    changes = security_changes(actual, required)
    findings = Findings()
    for change in changes.removals + changes.additions:
        # A newer version may have added columns, and so grants; its policies are the same.
        is_grant = change.do.startswith(("GRANT", "REVOKE"))
        sentence = f"Table {required.table} is not guarded as its model says; needed: {change.do}."
        findings += _found([sentence], is_warning=is_ahead and is_grant)
    return findings


def _without(required: Security, missing: Collection[str]) -> Security:
    """Nothing is granted on a column that is not there."""
    there = {
        grant: tuple(name for name in grant.columns if name not in missing)
        for grant in required.grants
    }
    return required._replace(
        # No columns at all would be the whole table.
        grants=frozenset(
            grant._replace(columns=columns)
            for grant, columns in there.items()
            if columns or not grant.columns
        )
    )


def _functions(catalogue: Catalogue) -> list[str]:
    return [
        f"Function {function.signature} is missing or not that of this version."
        for function in DEFINER_FUNCTIONS
        if catalogue.functions.get(function.signature) != required_function(function)
    ]


def _missing_keys(connection: psycopg.Connection[Any]) -> list[str]:
    """Foreign keys are what keeps a row from naming another tenant's; unique indexes keep names."""
    present = {row[0] for row in connection.execute(_KEYS)}
    return [
        f"{key.name} of table {table.name} is missing or not valid."
        for table in guarded_tables()
        for key in (*table.constraints, *table.indexes)
        if key.name is not None and str(key.name) not in present
    ]


def _columns(connection: psycopg.Connection[Any]) -> dict[str, set[str]]:
    return {table: set(names) for table, names in connection.execute(_COLUMNS)}


def _found(sentences: Collection[str], *, is_warning: bool) -> Findings:
    return Findings((), tuple(sentences)) if is_warning else Findings(tuple(sentences))
