"""The second lock, as data: what row-level security, grants and audit triggers each table must
have, and the SQL that makes it so. The one source for migrations, drift check and doctor."""

from typing import NamedTuple

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from saas.db.models import PROTECTED
from saas.db.roles import APP, OWNER, PLATFORM

# nullif: after a SET LOCAL the setting reads '' instead of NULL on a pooled connection.
# Not wrapped in a sub-select: Citus refuses subqueries in policies; the repository's literal
# tenant_id predicate is what the index uses.
TENANT_SETTING = "nullif(current_setting('app.tenant_id', true), '')::uuid"
# The same expression as PostgreSQL prints it back (pg_get_expr), for the drift check.
DEPARSED_TENANT = "(NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid"

# SQLAlchemy leaves its dialects without types.
_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]

# These may be written by an UPDATE of the repository; the other protected columns may not.
_UPDATABLE_BOOKKEEPING = frozenset(
    {"version", "updated_at", "updated_by", "deleted_at", "deleted_by"}
)


class Policy(NamedTuple):
    """One policy. Nearly all of ours are FOR ALL, with one `expression` for USING and WITH CHECK;
    one found in a database may be for another `command` or have another `check`."""

    name: str
    permissive: bool
    roles: tuple[str, ...]
    expression: str | None
    check: str | None = None
    command: str = "ALL"


class Grant(NamedTuple):
    """`columns` is empty for a privilege on the whole table."""

    role: str
    privilege: str
    columns: tuple[str, ...] = ()


class Trigger(NamedTuple):
    """`definition` is the whole statement, as PostgreSQL prints it with an empty search path."""

    name: str
    definition: str
    enabled: bool = True


class Security(NamedTuple):
    """All that guards one table. Two equal values mean no drift."""

    table: str
    row_security: bool
    forced: bool
    policies: frozenset[Policy]
    grants: frozenset[Grant]
    triggers: frozenset[Trigger]


def required_security(table: Table) -> Security | None:
    """What `table` must have; None for tables that this product does not guard."""
    tenancy = table.info.get("tenancy")
    if tenancy not in {"tenant", "control"}:
        return None
    tenant_column = table.info.get("tenant_column", "tenant_id" if tenancy == "tenant" else None)
    return Security(
        table=table.name,
        row_security=tenant_column is not None,
        forced=tenant_column is not None,
        policies=frozenset(_policies(table, tenant_column)),
        grants=frozenset(_grants(table)),
        triggers=frozenset(_triggers(table)),
    )


def _policies(table: Table, tenant_column: str | None) -> list[Policy]:
    if tenant_column is None:
        return []
    own_rows = f"({tenant_column} = {DEPARSED_TENANT})"
    if table.info["tenancy"] == "tenant":
        return [
            # PUBLIC, so that it binds the owner too: the audit functions run as the owner.
            Policy("tenant_isolation", True, ("public",), own_rows),
            # Permissive policies are ORed: the fence still holds when somebody adds one.
            Policy("tenant_fence", False, (APP, PLATFORM), own_rows),
        ]
    policies = [
        Policy("tenant_isolation", True, (APP,), own_rows),
        Policy("platform_access", True, (PLATFORM,), "true"),
        # For the owner's functions: whether the bound tenant is being deleted, and what is left.
        Policy("owner_reads", True, (OWNER,), own_rows, command="SELECT"),
    ]
    if table.info.get("written_by_triggers"):
        policies.append(Policy("owner_writes", True, (OWNER,), None, own_rows, command="INSERT"))
    return policies


def _grants(table: Table) -> list[Grant]:
    default = ("SELECT", "INSERT", "UPDATE", "DELETE") if table.info["tenancy"] == "tenant" else ()
    grants = []
    for role, privileges in (
        (APP, table.info.get("app", default)),
        (PLATFORM, table.info.get("platform", ())),
    ):
        for privilege in privileges:
            columns = _updates(table, role) if privilege == "UPDATE" else ()
            # No column means the whole table, so a table without any must get no UPDATE at all.
            if columns or privilege != "UPDATE":
                grants.append(Grant(role, privilege, columns))
    return grants


def _updates(table: Table, role: str) -> tuple[str, ...]:
    """`info["app_updates"]` narrows what the app role may update of a table."""
    narrowed = table.info.get("app_updates") if role == APP else None
    return updatable_columns(table) if narrowed is None else tuple(sorted(narrowed))


def updatable_columns(table: Table) -> tuple[str, ...]:
    """Never the tenant, the id or the creation: a row cannot change hands or its history."""
    return tuple(
        sorted(c.name for c in table.columns if c.name not in PROTECTED - _UPDATABLE_BOOKKEEPING)
    )


def _triggers(table: Table) -> list[Trigger]:
    if not table.info.get("audited", True):
        return []
    masked = sorted(c.name for c in table.columns if c.info.get("masked"))
    arguments = ", ".join(f"'{argument}'" for argument in (table.name, *masked))
    if masked or table.info["tenancy"] != "tenant":
        return [_row_trigger(table, "INSERT OR DELETE OR UPDATE", arguments)]
    # Rows come in, and are changed, by the thousand (docs/decisions/0004).
    return [
        _set_trigger(table, "audit_inserted", "INSERT", "NEW TABLE AS inserted", arguments),
        _set_trigger(
            table,
            "audit_updated",
            "UPDATE",
            "OLD TABLE AS changed_from NEW TABLE AS changed_to",
            arguments,
        ),
        _row_trigger(table, "DELETE", arguments),
    ]


def _set_trigger(table: Table, name: str, event: str, rows: str, arguments: str) -> Trigger:
    return Trigger(
        name,
        f"CREATE TRIGGER {name} AFTER {event} ON public.{quote(table.name)} "
        f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION public.{name}({arguments})",
    )


def _row_trigger(table: Table, events: str, arguments: str) -> Trigger:
    return Trigger(
        "audit_row",
        f"CREATE TRIGGER audit_row AFTER {events} ON public.{quote(table.name)} "
        f"FOR EACH ROW EXECUTE FUNCTION public.audit_row({arguments})",
    )


def quote(name: str) -> str:
    """An identifier for SQL; quoted only where it must be, as SQLAlchemy does in its own DDL."""
    return _PREPARER.quote(name)


def create_policy(table: str, policy: Policy) -> str:
    kind = "PERMISSIVE" if policy.permissive else "RESTRICTIVE"
    command = "" if policy.command == "ALL" else f"FOR {policy.command} "
    check = policy.expression if policy.check is None else policy.check
    return (
        f"CREATE POLICY {quote(policy.name)} ON {quote(table)} AS {kind} "
        f"{command}TO {', '.join(map(quote, policy.roles))}"
        + _clause("USING", policy.expression)
        # INSERT has no old row to USE, SELECT and DELETE have no new one to CHECK.
        + _clause("WITH CHECK", None if policy.command in {"SELECT", "DELETE"} else check)
    )


def _clause(keyword: str, expression: str | None) -> str:
    if expression is None:
        return ""
    expression = expression.replace(DEPARSED_TENANT, TENANT_SETTING)
    return f" {keyword} {expression if _is_enclosed(expression) else f'({expression})'}"


def _is_enclosed(expression: str) -> bool:
    depth = 0
    for position, character in enumerate(expression, start=1):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return expression.startswith("(") and position == len(expression)
    return False


def drop_policy(table: str, policy: Policy) -> str:
    return f"DROP POLICY {quote(policy.name)} ON {quote(table)}"


def set_row_security(table: str, *, enabled: bool, forced: bool) -> str:
    # FORCE: without it the owner, as which migrations and audit functions run, is not bound.
    return (
        f"ALTER TABLE {quote(table)} {'ENABLE' if enabled else 'DISABLE'} ROW LEVEL SECURITY, "
        f"{'FORCE' if forced else 'NO FORCE'} ROW LEVEL SECURITY"
    )


def create_grant(table: str, grant: Grant) -> str:
    return f"GRANT {_privilege(grant)} ON {quote(table)} TO {quote(grant.role)}"


def revoke_grant(table: str, grant: Grant) -> str:
    return f"REVOKE {_privilege(grant)} ON {quote(table)} FROM {quote(grant.role)}"


def _privilege(grant: Grant) -> str:
    columns = ", ".join(map(quote, grant.columns))
    return f"{grant.privilege} ({columns})" if columns else grant.privilege


def create_trigger(table: str, trigger: Trigger) -> str:
    disable = f"ALTER TABLE {quote(table)} DISABLE TRIGGER {quote(trigger.name)}"
    return trigger.definition if trigger.enabled else f"{trigger.definition}; {disable}"


def drop_trigger(table: str, trigger: Trigger) -> str:
    return f"DROP TRIGGER {quote(trigger.name)} ON {quote(table)}"
