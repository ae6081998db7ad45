"""The questions of the doctor, as data: each returns one sentence a fault, and none when all is
well. They read nothing but catalogues, so the app's own roles may ask them."""

# The SQL is put together from constants of this file alone.
# ruff: noqa: S608

from typing import NamedTuple


class Check(NamedTuple):
    """`sql` takes the parameters that `doctor.py` names."""

    sql: str
    is_warning: bool = False
    about_models: bool = False
    """Whether a newer version's additions look like a fault to this check."""


def _ours(catalogue: str, alias: str, namespace: str) -> str:
    """Neither PostgreSQL's own objects nor those of an extension."""
    return f"""{namespace}::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
      AND {namespace}::regnamespace::text NOT LIKE 'pg\\_%%'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = '{catalogue}'::regclass
                      AND objid = {alias}.oid AND deptype = 'e')"""


# Rights that an app role holds on a relation or a column of it, itself or through PUBLIC.
_HELD = """(SELECT oid, relname, relkind, relispartition, relnamespace,
       coalesce(grantee::regrole::text, '-') AS role, privilege_type, is_grantable
FROM (SELECT c.oid, relname, relkind, relispartition, relnamespace, entry.*
      FROM pg_class AS c, aclexplode(relacl) AS entry
      UNION ALL
      SELECT c.oid, relname, relkind, relispartition, relnamespace, entry.*
      FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid, aclexplode(attacl) AS entry
     ) AS granted
WHERE grantee IN (0, to_regrole(%(app)s), to_regrole(%(platform)s))) AS held"""

_ROLE = "pg_roles AS me WHERE me.rolname = session_user"

# Asked on the connection of each of the two roles; `role` is the one that it must be.
ROLE_CHECKS = (
    Check("""
    SELECT format('The URL for %%s connects as %%s and acts as %%s; all rights are made for %%s.',
                  %(role)s::text, session_user, current_user, %(role)s::text)
    WHERE session_user <> %(role)s OR current_user <> %(role)s"""),
    Check(f"""
    SELECT format('%%s is %%s: the app must run without it.', session_user, attribute)
    FROM (SELECT unnest(ARRAY['SUPERUSER', 'BYPASSRLS', 'CREATEROLE', 'CREATEDB', 'REPLICATION']),
                 unnest(ARRAY[rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication])
          FROM {_ROLE}) AS has(attribute, is_set)
    WHERE is_set"""),
    Check(f"""
    SELECT format('%%s may become %%s: REVOKE %%I FROM %%I.',
                  session_user, other.rolname, other.rolname, session_user)
    FROM pg_roles AS other, {_ROLE} AND NOT me.rolsuper
      AND other.oid <> me.oid AND pg_has_role(me.oid, other.oid, 'MEMBER')"""),
    Check(f"""
    SELECT format('%%s owns %%s, and an owner can switch its row-level security off.',
                  session_user, string_agg(c.oid::regclass::text, ', ' ORDER BY relname))
    FROM pg_class AS c, {_ROLE} AND relowner = me.oid AND relkind IN ('r', 'p', 'v', 'm', 'f')
      AND {_ours("pg_class", "c", "relnamespace")}
    HAVING count(*) > 0"""),
    Check(f"""
    SELECT format('%%s may make objects of its own (%%s on database %%I): REVOKE %%s ON DATABASE '
                  '%%I FROM PUBLIC, %%I.', session_user, privilege, current_database(), privilege,
                  current_database(), session_user)
    FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS privilege, {_ROLE} AND NOT me.rolsuper
      AND has_database_privilege(me.oid, current_database(), privilege)"""),
    Check(f"""
    SELECT format('%%s may make objects in schema %%I: REVOKE CREATE ON SCHEMA %%I FROM PUBLIC, '
                  '%%I.', session_user, nspname, nspname, session_user)
    FROM pg_namespace AS n, {_ROLE} AND NOT me.rolsuper
      AND has_schema_privilege(me.oid, n.oid, 'CREATE')"""),
    Check(
        f"""
    SELECT format('%%s may call %%s, with which an injected expression could leave its tenant; as '
                  'superuser: REVOKE EXECUTE ON FUNCTION pg_catalog.%%s FROM PUBLIC, %%I.',
                  session_user, split_part(denied, '(', 1), denied, session_user)
    FROM unnest(%(denied_functions)s::text[]) AS denied, {_ROLE} AND NOT me.rolsuper
      AND has_function_privilege(me.oid, to_regprocedure('pg_catalog.' || denied), 'EXECUTE')""",
        is_warning=True,
    ),
    Check("""
    SELECT format('A fresh connection of %%s is already bound to tenant %%s; find out where '
                  'app.tenant_id is set.', session_user, current_setting('app.tenant_id', true))
    WHERE current_setting('app.tenant_id', true) <> ''"""),
)

DATABASE_CHECKS = (
    Check(
        f"""
    SELECT format('Table %%s has a tenant_id, but no model declares it, %%s. Name the module of '
                  'its model in SAAS_MODELS.', c.oid::regclass,
                  CASE WHEN relrowsecurity AND relforcerowsecurity
                            AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
                       THEN 'so whether its policies are right is unknown'
                       ELSE 'and no row-level security guards it' END)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE NOT attisdropped AND relkind IN ('r', 'p', 'f') AND NOT relispartition
      AND NOT (relnamespace = 'public'::regnamespace AND relname = ANY (%(declared)s))
      AND {_ours("pg_class", "c", "relnamespace")}""",
        about_models=True,
    ),
    Check(
        f"""
    SELECT DISTINCT format('%%s holds %%s on %%s, which no model declares.',
           CASE role WHEN '-' THEN 'PUBLIC' ELSE role END, privilege_type, oid::regclass)
    FROM {_HELD}
    WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition
      AND NOT (relnamespace = 'public'::regnamespace AND (relname = ANY (%(declared)s)
               OR (relname = 'alembic_version' AND privilege_type = 'SELECT')))
      AND {_ours("pg_class", "held", "relnamespace")}""",
        about_models=True,
    ),
    Check(f"""
    SELECT DISTINCT format('%%s may pass its rights on %%s on: no WITH GRANT OPTION for the app.',
           role, oid::regclass) FROM {_HELD} WHERE is_grantable"""),
    Check(f"""
    SELECT DISTINCT format('%%s is granted on the partition %%s, where the policies of its parent '
           'do not bind: REVOKE ALL ON %%s FROM PUBLIC, %%I, %%I.',
           CASE role WHEN '-' THEN 'PUBLIC' ELSE role END, oid::regclass, oid::regclass,
           %(app)s::text, %(platform)s::text)
    FROM {_HELD} WHERE relispartition"""),
    Check(f"""
    SELECT DISTINCT format('Materialized view %%s is granted to %%s, and row-level security cannot '
           'guard it.', oid::regclass, CASE role WHEN '-' THEN 'PUBLIC' ELSE role END)
    FROM {_HELD} WHERE relkind = 'm' AND {_ours("pg_class", "held", "relnamespace")}"""),
    Check(f"""
    SELECT format('View %%s reads as its owner: ALTER VIEW %%s SET (security_invoker = true).',
                  c.oid::regclass, c.oid::regclass)
    FROM pg_class AS c
    WHERE relkind = 'v' AND {_ours("pg_class", "c", "relnamespace")}
      AND NOT EXISTS (SELECT FROM pg_options_to_table(reloptions)
                      WHERE option_name = 'security_invoker' AND option_value::boolean)"""),
    Check("""
    SELECT format('The unique index %%s of %%s does not start with tenant_id, so a conflict tells '
                  'one tenant of the rows of another.', indexrelid::regclass, indrelid::regclass)
    FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
    LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(tenant_tables)s)
      AND (indisunique OR indisexclusion) AND attname IS DISTINCT FROM 'tenant_id'"""),
    Check("""
    SELECT format('The foreign key %%I of %%s does not start with tenant_id, so a row may refer '
                  'to one of another tenant.', conname, conrelid::regclass)
    FROM pg_constraint JOIN pg_class AS c ON c.oid = conrelid
    JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
    WHERE contype = 'f' AND relnamespace = 'public'::regnamespace
      AND relname = ANY (%(tenant_tables)s) AND attname <> 'tenant_id'"""),
    Check(
        """
    SELECT format('The index %%s cannot serve its column %%I (%%s): under row-level security only '
                  'leakproof operators use an index.', indexrelid::regclass,
                  pg_get_indexdef(indexrelid, part + 1, true), format_type(opcintype, NULL))
    FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
    CROSS JOIN generate_subscripts(indclass, 1) AS part
    JOIN pg_opclass ON pg_opclass.oid = indclass[part]
    WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(tenant_tables)s)
      AND EXISTS (SELECT FROM pg_amop JOIN pg_operator AS o ON o.oid = amopopr
                  JOIN pg_proc ON pg_proc.oid = oprcode
                  WHERE amopfamily = opcfamily AND amoppurpose = 's' AND NOT proleakproof
                    AND amoplefttype = opcintype AND amoprighttype = opcintype)""",
        is_warning=True,
    ),
    Check("""
    SELECT DISTINCT format('The foreign keys of %%s are switched off: ALTER TABLE %%s ENABLE '
           'TRIGGER ALL.', tgrelid::regclass, tgrelid::regclass)
    FROM pg_trigger WHERE tgisinternal AND tgenabled = 'D'"""),
    Check(f"""
    SELECT format('Function %%s runs as its owner without a search_path of its own: ALTER FUNCTION '
                  '%%s SET search_path = pg_catalog, pg_temp.', p.oid::regprocedure,
                  p.oid::regprocedure)
    FROM pg_proc AS p
    WHERE prosecdef AND {_ours("pg_proc", "p", "pronamespace")}
      AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=%%')
    """),
    Check(f"""
    SELECT format('Function %%s runs as %%s, a superuser: ALTER FUNCTION %%s OWNER TO %%I.',
                  p.oid::regprocedure, rolname, p.oid::regprocedure, %(owner)s::text)
    FROM pg_proc AS p JOIN pg_roles ON pg_roles.oid = proowner
    WHERE prosecdef AND rolsuper AND {_ours("pg_proc", "p", "pronamespace")}"""),
    Check(f"""
    SELECT format('Function %%s reads a setting but is IMMUTABLE, so a plan would keep the tenant '
                  'of its first use: ALTER FUNCTION %%s STABLE.', p.oid::regprocedure,
                  p.oid::regprocedure)
    FROM pg_proc AS p
    WHERE provolatile = 'i' AND prokind = 'f' AND {_ours("pg_proc", "p", "pronamespace")}
      AND coalesce(pg_get_function_sqlbody(p.oid), prosrc) ~* 'current_setting'"""),
    Check("""
    SELECT format('The setting %%s of %%s binds every fresh connection; remove it by ALTER ROLE or '
                  'ALTER DATABASE ... RESET.', split_part(setting, '=', 1),
                  coalesce(setrole::regrole::text, '-'))
    FROM pg_db_role_setting, unnest(setconfig) AS setting
    WHERE setting LIKE 'app.%%' AND setdatabase IN
      (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"""),
    Check(f"""
    SELECT format('%%s belongs to %%s instead of %%s.', what, holder::regrole, %(owner)s::text)
    FROM (SELECT 'Relation ' || c.oid::regclass, relowner FROM pg_class AS c
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND {_ours("pg_class", "c", "relnamespace")}
          UNION ALL
          SELECT 'Function ' || p.oid::regprocedure, proowner FROM pg_proc AS p
          WHERE pronamespace = 'public'::regnamespace AND {_ours("pg_proc", "p", "pronamespace")}
          UNION ALL
          SELECT 'Type ' || t.oid::regtype, typowner FROM pg_type AS t
          WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
            AND {_ours("pg_type", "t", "typnamespace")}
          UNION ALL
          SELECT 'Schema public', nspowner FROM pg_namespace WHERE nspname = 'public'
         ) AS object(what, holder)
    WHERE holder IS DISTINCT FROM to_regrole(%(owner)s)"""),
    Check("""
    SELECT DISTINCT format('New tables of %%s are open to %%s by default: see ALTER DEFAULT '
           'PRIVILEGES.', defaclrole::regrole,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM pg_default_acl, aclexplode(defaclacl)
    WHERE defaclobjtype = 'r'
      AND grantee IN (0, to_regrole(%(app)s), to_regrole(%(platform)s))"""),
)
