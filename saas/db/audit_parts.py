"""What the audit triggers have in common, as parts of their SQL (`audit_functions.py`)."""

from saas.db.roles import PLATFORM

# An import brings a tenant's log along, and the log of the moved rows must not say that they are
# new. Two steps, so that everybody else pays for one comparison. Who may be silent, and why nobody
# else can, is in `restore_functions.py`.
UNLESS_IMPORTED = f"""IF session_user = '{PLATFORM}' THEN
    IF public.is_importing() THEN RETURN NULL; END IF;
  END IF;"""

# A row's size: its values in PostgreSQL's binary form. Unlike what lies on disk it follows from the
# values alone, so that adding up what changes gives what counting all rows gives. Without what the
# form says of each column, so that one more column without a value is nothing more.
BYTES = "(octet_length({0}) - 4 - 8 * (256 * get_byte({0}, 2) + get_byte({0}, 3)))"
# Types whose binary form is as long as what a row holds.
OF_ONE_SIZE = "{bool,int2,int4,int8,float4,float8,uuid,date,time,timestamp,timestamptz,interval}"
ACTIVE = """{0} ->> 'deleted_at' IS NULL AND {0} ->> 'revoked_at' IS NULL
      AND {0} -> 'is_active' IS DISTINCT FROM 'false'"""
ACTOR = "coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || session_user)"
REQUEST = "nullif(current_setting('app.request_id', true), '')"
IP = "nullif(current_setting('app.ip', true), '')"
# What an update changed, and what it is called by that and by whether the row was deleted. version,
# updated_at and updated_by follow from any change; alone they are none, and it has no name.
CHANGED = """SELECT array_agg(c.key) INTO same
      FROM jsonb_each(is_now) AS c WHERE c.value = was -> c.key;
    same := same || '{version,updated_at,updated_by}';
    before := was - same;
    after := is_now - same;
    done := CASE WHEN after = '{}' THEN '' WHEN NOT after ? 'deleted_at' THEN 'update'
      WHEN was ->> 'deleted_at' IS NOT NULL THEN 'restore' ELSE 'soft_delete' END;"""

_IS_OF_ONE_SIZE = f"atttypid = ANY ('{OF_ONE_SIZE}'::regtype[])"
_IS_KNOWN = f"attnotnull AND {_IS_OF_ONE_SIZE}"


# Of a statement that names the columns of a table, made from the catalogue: whether a row that it
# calls `row` is active, and how large it is. Of a new row what cannot be null and has one size is
# added up beforehand; an old one may be from before NOT NULL (NOT VALID).
def are_active(row: str) -> str:
    return f"""max(' AND {row}.is_active IS NOT FALSE')
          FILTER (WHERE attname = 'is_active' AND atttypid = 'boolean'::regtype),
        max(' AND {row}.revoked_at IS NULL') FILTER (WHERE attname = 'revoked_at')"""


def sizes(row: str) -> str:
    return f"""string_agg(format(
        CASE
          WHEN {_IS_OF_ONE_SIZE}
            THEN 'CASE WHEN {row}.%2$I IS NULL THEN 0 ELSE %3$s END'
          WHEN atttypid = ANY ('{{text,varchar,bytea}}'::regtype[])
            THEN 'coalesce(octet_length({row}.%2$I), 0)'
          ELSE 'coalesce(octet_length(%1$s({row}.%2$I)), 0)' END,
        typsend, attname, attlen), ' + ')"""


def sizes_of_new(row: str) -> str:
    return f"""concat_ws(' + ', sum(attlen) FILTER (WHERE {_IS_KNOWN}),
        {sizes(row)} FILTER (WHERE NOT ({_IS_KNOWN})))"""


# What gathers the values of one column as JSON lists them: array_agg, which takes half the time,
# or jsonb_agg where it might not do. Of arrays, which a domain may be over, it would make one of
# more dimensions, and want them alike.
GATHERER = "CASE WHEN typtype = 'b' AND typcategory <> 'A' THEN 'array_agg' ELSE 'jsonb_agg' END"
COLUMNS = """FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
      WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped"""
# At most so many entries of one statement, with about so many bytes of values, are one row of
# `audit_sets`: enough to take little room, few enough to be read for one of them.
SET_SIZE = 100
SET_BYTES = 100_000
# However unlike the rows are: jsonb takes 256 MB, and a value may be twice as long there.
MOST_SET_BYTES = 100_000_000
# The ids of the entries of one statement count up from a random one (RFC 9562, 6.2, method 2), for
# each uuidv7() asks the system for random bytes: $1 and $2 are the halves of `first_id`.
COUNTED_ID = "($1 || to_hex($2 + row_number() OVER ()))::uuid"
HALVES_OF_FIRST_ID = """left(first_id, 24),
      -- Twelve digits, also a million rows on.
      ('x' || right(first_id, 12))::bit(48)::bigint & x'3fffffffffff'::bigint
        | x'800000000000'::bigint"""

# unscoped: a part of the bodies of the triggers; tenant_id comes from the rows that they fire for
LOG = """INSERT INTO public.audit_log
    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)"""
USAGE = """INSERT INTO public.usage_changes
    (tenant, at, entity, actor, created, updated, deleted, live, active, removed, bytes)"""
