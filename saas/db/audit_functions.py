"""The trigger functions that write the audit log. Migrations hold this text literally.

They run as the owner (SECURITY DEFINER), so the app role needs no right to write the log; the
owner is bound by the same policy (FORCE), so even they cannot write into another tenant's log.
Their first trigger argument is the entity's name (on Citus TG_TABLE_NAME names the shard), the
others are the columns whose values must not appear in the log.
"""

from typing import NamedTuple


class AuditFunction(NamedTuple):
    name: str
    body: str


# Known from the entry itself, so it need not stand in its changes.
_NOT_LOGGED = "'{tenant_id,id}'"
# Bookkeeping that follows from any change; alone it is no change.
_NOT_A_CHANGE = "'{version,updated_at,updated_by}'"

_INTO = """INSERT INTO public.audit_log
    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)"""

_ORIGIN = """now(),
    coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || session_user),
    nullif(current_setting('app.request_id', true), ''),
    nullif(current_setting('app.ip', true), ''),"""


def _whole_row(action: str, rows: str, old: str, new: str) -> str:
    return f"""BEGIN
  {_INTO}
  SELECT coalesce(r.j ->> 'tenant_id', r.j ->> 'id')::uuid, {_ORIGIN}
    '{action}', TG_ARGV[0], (r.j ->> 'id')::uuid, (
      SELECT coalesce(
        jsonb_object_agg(c.key, jsonb_build_object('old', {old}, 'new', {new})), '{{}}')
      FROM jsonb_each(r.j) AS c
      WHERE c.value <> 'null' AND c.key <> ALL ({_NOT_LOGGED}))
  FROM (SELECT to_jsonb(rows) AS j FROM {rows} AS rows) AS r;
  RETURN NULL;
END"""


_SHOWN = """CASE WHEN c.key = ANY (TG_ARGV[1:]) THEN '"***"' ELSE {} END"""

_UPDATE = f"""DECLARE
  was jsonb := to_jsonb(old);
  row jsonb := to_jsonb(new);
BEGIN
  {_INTO}
  SELECT coalesce(row ->> 'tenant_id', row ->> 'id')::uuid, {_ORIGIN}
    CASE WHEN row -> 'deleted_at' IS NOT DISTINCT FROM was -> 'deleted_at' THEN 'update'
         WHEN row ->> 'deleted_at' IS NULL THEN 'restore' ELSE 'soft_delete' END,
    TG_ARGV[0], (row ->> 'id')::uuid,
    jsonb_object_agg(c.key, jsonb_build_object(
      'old', {_SHOWN.format("was -> c.key")}, 'new', {_SHOWN.format("c.value")}))
  FROM jsonb_each(row) AS c
  WHERE c.value IS DISTINCT FROM was -> c.key AND c.key <> ALL ({_NOT_A_CHANGE})
  HAVING count(*) > 0;
  RETURN NULL;
END"""

AUDIT_FUNCTIONS = (
    AuditFunction(
        "audit_insert", _whole_row("insert", "new_rows", "NULL", _SHOWN.format("c.value"))
    ),
    AuditFunction("audit_update", _UPDATE),
    AuditFunction(
        "audit_delete", _whole_row("delete", "old_rows", _SHOWN.format("c.value"), "NULL")
    ),
)


def create_audit_function(function: AuditFunction) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION public.{function.name}() RETURNS trigger LANGUAGE plpgsql "
        # A pinned path: no other schema can lend its operators to a definer function.
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
        f"$function$\n{function.body}\n$function$"
    )


def drop_audit_function(function: AuditFunction) -> str:
    return f"DROP FUNCTION public.{function.name}()"


def close_audit_function(function: AuditFunction, roles: tuple[str, ...] = ("public",)) -> str:
    # Triggers fire without it; nobody needs to attach a definer function to a table of their own.
    return f"REVOKE ALL ON FUNCTION public.{function.name}() FROM {', '.join(roles)}"


def open_audit_function(function: AuditFunction, roles: tuple[str, ...]) -> str:
    return f"GRANT EXECUTE ON FUNCTION public.{function.name}() TO {', '.join(roles)}"
