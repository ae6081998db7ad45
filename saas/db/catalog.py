"""What guards the tables of a database in truth: policies, grants, triggers and definer functions,
read from PostgreSQL's catalogues as the same values that `rls.py` requires."""

from collections import defaultdict
from typing import Any, NamedTuple

import psycopg

from saas.db.audit_functions import AUDIT_FUNCTIONS
from saas.db.definer_functions import DefinerFunction
from saas.db.platform_functions import PLATFORM_FUNCTIONS
from saas.db.restore_functions import RESTORE_FUNCTIONS
from saas.db.rls import Grant, Policy, Security, Trigger, quote
from saas.db.roles import OWNER
from saas.db.usage_functions import USAGE_FUNCTIONS

DEFINER_FUNCTIONS = (*AUDIT_FUNCTIONS, *PLATFORM_FUNCTIONS, *RESTORE_FUNCTIONS, *USAGE_FUNCTIONS)


class Function(NamedTuple):
    """A function in PL/pgSQL. `executors` are the roles that may use it, besides its owner."""

    name: str
    arguments: str
    returns: str
    body: str
    is_definer: bool
    is_stable: bool
    settings: tuple[str, ...]
    owner: str
    executors: tuple[str, ...]


class Catalogue(NamedTuple):
    """Of schema public: tables by name, functions by signature; `sources` is the SQL that makes
    each of the functions again."""

    tables: dict[str, Security]
    functions: dict[str, Function]
    sources: dict[str, str]


def read_catalogue(connection: psycopg.Connection[Any]) -> Catalogue:
    """Read with any role; changes nothing, and works inside and outside of a transaction."""
    with connection.transaction(force_rollback=True):
        # With nothing in the path, PostgreSQL prints every name with its schema. The rollback
        # gives the caller's own path back.
        connection.execute("SET LOCAL search_path = pg_catalog")
        tables = connection.execute(_TABLES).fetchall()
        policies = _policies(connection)
        grants = _grants(connection)
        triggers = _triggers(connection)
        functions = connection.execute(_FUNCTIONS).fetchall()
    return Catalogue(
        tables={
            name: Security(
                table=name,
                row_security=enabled,
                forced=forced,
                policies=frozenset(policies[name]),
                grants=frozenset(grants[name]),
                triggers=frozenset(triggers[name]),
            )
            for name, enabled, forced in tables
        },
        functions={f"{row[0]}({row[1]})": _function(*row[:-1]) for row in functions},
        sources={f"{row[0]}({row[1]})": row[-1] for row in functions},
    )


def required_function(function: DefinerFunction) -> Function:
    """What `create_function`, `close_function` and `open_function` leave in the catalogue."""
    return Function(
        name=function.name,
        arguments=function.arguments,
        returns=function.returns,
        body=f"\n{function.body}\n",
        is_definer=True,
        is_stable=function.is_stable,
        settings=(
            "search_path=pg_catalog, pg_temp",
            *(f"{name}={value}" for name, value in function.settings),
        ),
        owner=OWNER,
        executors=tuple(sorted(function.executors)),
    )


def _function(*row: Any) -> Function:
    name, arguments, returns, body, is_definer, is_stable, settings, owner, executors = row
    lists = tuple(settings), tuple(executors)
    return Function(
        name, arguments, returns, body, is_definer, is_stable, lists[0], owner, lists[1]
    )


def _policies(connection: psycopg.Connection[Any]) -> dict[str, list[Policy]]:
    found = defaultdict(list)
    for table, name, permissive, roles, expression, check, command in connection.execute(_POLICIES):
        # Without a check of its own, PostgreSQL checks new rows with the USING expression.
        own_check = None if check == expression else check
        policy = Policy(name, permissive, tuple(roles), expression, own_check, _COMMANDS[command])
        found[table].append(policy)
    return found


def _grants(connection: psycopg.Connection[Any]) -> dict[str, list[Grant]]:
    found = defaultdict(list)
    for table, role, privilege, columns in connection.execute(_GRANTS):
        found[table].append(Grant(role, privilege, tuple(columns)))
    return found


def _triggers(connection: psycopg.Connection[Any]) -> dict[str, list[Trigger]]:
    found = defaultdict(list)
    for table, name, quoted_table, definition, enabled in connection.execute(_TRIGGERS):
        # PostgreSQL quotes a few names more than SQLAlchemy does.
        definition = definition.replace(f" ON {quoted_table} ", f" ON public.{quote(table)} ", 1)
        found[table].append(Trigger(name, definition, enabled))
    return found


_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}

_TABLES = """
SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"""

_POLICIES = """
SELECT relname, polname, polpermissive,
       array(SELECT coalesce(rolname, 'public')::text
             FROM unnest(polroles) AS member LEFT JOIN pg_roles ON pg_roles.oid = member
             ORDER BY 1),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), polcmd::text
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE relnamespace = 'public'::regnamespace"""

# The owner's own rights come with the table and say nothing.
_GRANTS = """
SELECT relname, coalesce(rolname, 'public'), privilege_type,
       array_remove(array_agg(attname::text ORDER BY attname::text), NULL)
FROM (SELECT relname, relowner, NULL AS attname, entry.*
      FROM pg_class, aclexplode(relacl) AS entry
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      UNION ALL
      SELECT relname, relowner, attname, entry.*
      FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) AS entry
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')) AS granted
LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE grantee <> relowner
GROUP BY relname, grantee, rolname, privilege_type, attname IS NULL"""

_TRIGGERS = """
SELECT relname, tgname, format('public.%I', relname), pg_get_triggerdef(pg_trigger.oid),
       tgenabled IN ('O', 'A')
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal"""

_FUNCTIONS = """
SELECT proname, pg_get_function_arguments(pg_proc.oid), pg_get_function_result(pg_proc.oid), prosrc,
       prosecdef, provolatile = 's', coalesce(proconfig, '{}'), pg_get_userbyid(proowner),
       array(SELECT coalesce(rolname, 'public')::text
             FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
             LEFT JOIN pg_roles ON pg_roles.oid = grantee
             WHERE grantee <> proowner ORDER BY 1),
       pg_get_functiondef(pg_proc.oid)
FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND lanname = 'plpgsql'"""
