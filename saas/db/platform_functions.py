"""What the platform's role may do to a tenant's rows, each as one narrow function of the owner: it
holds no grant on them. Migrations hold this text literally.

The owner is bound by the same policies (FORCE), so each works in the bound tenant alone.
"""

from saas.db.definer_functions import DefinerFunction
from saas.db.rls import DEPARSED_TENANT
from saas.db.roles import PLATFORM

_BOUND = "bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid"

# Append-only, and about an operator's access alone: no other entry can be forged with it. False
# where the tenant is being deleted.
# unscoped: tenant_id is the bound one
_RECORD_ACCESS = f"""DECLARE
  {_BOUND};
  operator text := current_setting('app.actor', true);
BEGIN
  IF bound IS NULL OR operator IS NULL OR NOT starts_with(operator, 'platform:') THEN
    RAISE insufficient_privilege USING MESSAGE = 'this is no access of an operator';
  END IF;
  PERFORM FROM public.tenants WHERE id = bound AND status IN ('active', 'suspended');
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO public.audit_log
    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)
  VALUES (
    bound, now(), operator,
    nullif(current_setting('app.request_id', true), ''),
    nullif(current_setting('app.ip', true), ''),
    'access', 'tenants', bound, jsonb_build_object('old', NULL, 'new', details));
  RETURN true;
END"""

# `started_at` is set by an UPDATE that waits for a resume in flight, so no purge meets one.
_REQUIRE_PURGE = """PERFORM FROM public.tenants
    WHERE id = bound AND purge_at <= now()
      AND (status = 'deleted' OR status = 'deleting' AND deletion ? 'started_at');
  IF NOT FOUND THEN
    RAISE insufficient_privilege USING MESSAGE = 'this tenant is not being purged';
  END IF;"""

# Of the tables that the app's role may not delete from, the audit log before all.
# unscoped: tenant_id is the bound one
_PURGE_ROWS = f"""DECLARE
  {_BOUND};
  gone bigint;
BEGIN
  {_REQUIRE_PURGE}
  EXECUTE format(
    'DELETE FROM public.%1$I WHERE tenant_id = $1 AND id = ANY (ARRAY('
    'SELECT id FROM public.%1$I WHERE tenant_id = $1 LIMIT $2))', entity)
    USING bound, most;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END"""

# NULL where rows could be there unseen: of somebody else's table, or behind a policy that is not
# ours. A zero must be a proof.
_COUNT_ROWS = f"""DECLARE
  {_BOUND};
  class regclass; kind text; held bigint;
BEGIN
  {_REQUIRE_PURGE}
  class := relation::regclass;
  SELECT format_type(atttypid, NULL) INTO STRICT kind FROM pg_attribute
    WHERE attrelid = class AND attname = tenant_column AND NOT attisdropped;
  IF row_security_active(class) AND (
    NOT EXISTS (SELECT FROM pg_policy
      WHERE polrelid = class AND polpermissive AND polcmd IN ('*', 'r')
        AND polroles && ARRAY[0::oid, current_user::regrole::oid]
        AND pg_get_expr(polqual, polrelid) = '(' || quote_ident(tenant_column)
          || $$ = {DEPARSED_TENANT})$$)
    OR EXISTS (SELECT FROM pg_policy
      WHERE polrelid = class AND NOT polpermissive AND polcmd IN ('*', 'r')
        AND polroles && ARRAY[0::oid, current_user::regrole::oid]))
  THEN
    RETURN NULL;
  END IF;
  BEGIN
    EXECUTE format('SELECT count(*) FROM %s WHERE %I = $1::text::%s', class, tenant_column, kind)
      INTO held USING bound;
  EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
  END;
  RETURN held;
END"""

PLATFORM_FUNCTIONS = (
    DefinerFunction("record_access", _RECORD_ACCESS, "details jsonb", "boolean", (PLATFORM,)),
    DefinerFunction("purge_rows", _PURGE_ROWS, "entity text, most integer", "bigint", (PLATFORM,)),
    DefinerFunction(
        "count_rows", _COUNT_ROWS, "relation text, tenant_column text", "bigint", (PLATFORM,)
    ),
)
