"""How a whole tenant comes back from an archive: the only way to write restored rows and entries of
the audit log, and the only one past its triggers. Migrations hold this text literally.

An import is one transaction of the platform's role. It begins with an entry `import` in the log of
a tenant that is not there yet, and is silent from there on because that entry is its own. Only
`begin_import` writes such an entry, so nobody can be silent without leaving it, and nobody at
all where a tenant is at work. The owner is bound by the policies (FORCE): all of it happens inside
the bound tenant (docs/decisions/0014).
"""

from saas.db.definer_functions import DefinerFunction
from saas.db.roles import PLATFORM

IMPORTED = "import"
"""The action of the log's entry that an import leaves."""

RESTORED = "restored_rows"
"""The cursor that the function of this name opens."""

_BOUND = "bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid"

# The transaction's own number and its own time: an entry that an archive brought cannot have both.
# unscoped: tenant_id is the bound one
_IS_IMPORTING = f"""DECLARE
  {_BOUND};
BEGIN
  RETURN EXISTS (
    SELECT FROM public.audit_log AS a
    WHERE a.tenant_id = bound AND a.entity = 'tenants' AND a.entity_id = bound
      AND a.action = '{IMPORTED}' AND a.at = now()
      AND a.changes #>> '{{new,transaction}}' = pg_current_xact_id_if_assigned()::text);
END"""

# unscoped: tenant_id is the bound one
_BEGIN_IMPORT = f"""DECLARE
  {_BOUND};
  operator text := current_setting('app.actor', true);
BEGIN
  IF bound IS NULL OR operator IS NULL OR NOT starts_with(operator, 'platform:') THEN
    RAISE insufficient_privilege USING MESSAGE = 'this is no import of an operator';
  END IF;
  -- A tombstone has no log either.
  IF EXISTS (SELECT FROM public.audit_log AS a WHERE a.tenant_id = bound)
    OR EXISTS (SELECT FROM public.audit_sets AS s WHERE s.tenant_id = bound)
    OR EXISTS (SELECT FROM public.tenants AS t WHERE t.id = bound)
  THEN
    RAISE unique_violation USING MESSAGE = 'this tenant is not new';
  END IF;
  INSERT INTO public.audit_log
    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)
  VALUES (
    bound, now(), operator,
    nullif(current_setting('app.request_id', true), ''),
    nullif(current_setting('app.ip', true), ''),
    '{IMPORTED}', 'tenants', bound,
    jsonb_build_object('old', NULL, 'new',
      origin || jsonb_build_object('transaction', pg_current_xact_id()::text)));
END"""

_ONLY_WHILE_IMPORTING = """IF NOT public.is_importing() THEN
    RAISE insufficient_privilege USING MESSAGE = 'no import has begun in this transaction';
  END IF;"""

# Columns that are not named have their defaults. A table without a tenant_id has nothing to
# restore, and fails here.
# unscoped: tenant_id is the bound one
_RESTORE_ROWS = f"""DECLARE
  {_BOUND};
  named text;
  done bigint;
BEGIN
  {_ONLY_WHILE_IMPORTING}
  SELECT string_agg(quote_ident(name), ', ') INTO named FROM unnest(columns) AS name;
  EXECUTE format(
    'INSERT INTO public.%1$I (tenant_id, %2$s) '
    'SELECT $1, %2$s FROM json_populate_recordset(NULL::public.%1$I, $2)', entity, named)
    USING bound, rows;
  GET DIAGNOSTICS done = ROW_COUNT;
  RETURN done;
END"""

# What was stored, for the proof that it is what the archive holds: by id, and in the very form in
# which an export writes it. A cursor, which the caller fetches from, because pages by id would each
# be planned without statistics of rows that nobody else sees yet.
# unscoped: tenant_id is the bound one
_RESTORED_ROWS = f"""DECLARE
  {_BOUND};
  named text;
  restored refcursor := '{RESTORED}';
BEGIN
  {_ONLY_WHILE_IMPORTING}
  SELECT string_agg(quote_ident(name), ', ') INTO named FROM unnest(columns) AS name;
  OPEN restored NO SCROLL FOR EXECUTE format(
    'SELECT row_to_json(portable.*)::text AS line FROM '
    '(SELECT %2$s FROM public.%1$I WHERE tenant_id = $1) AS portable ORDER BY portable.id',
    entity, named)
    USING bound;
END"""

RESTORE_FUNCTIONS = (
    DefinerFunction("is_importing", _IS_IMPORTING, returns="boolean"),
    DefinerFunction("begin_import", _BEGIN_IMPORT, "origin jsonb", "void", (PLATFORM,)),
    DefinerFunction(
        "restore_rows",
        _RESTORE_ROWS,
        "entity text, columns text[], rows json",
        "bigint",
        (PLATFORM,),
    ),
    DefinerFunction(
        "restored_rows",
        _RESTORED_ROWS,
        "entity text, columns text[]",
        "void",
        (PLATFORM,),
    ),
)
