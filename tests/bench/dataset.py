"""The rows: the same million projects in the product's table and in the peer's, loaded by the
superuser past triggers and foreign keys, and put back to that state after each write round."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from psycopg import Connection

LOADER = "system:bench"
CREATED_PREFIX = "Load "
BIG_TENANT_SHARE = 5
SAMPLE_SIZE = 20_000

# Row n is the same on both sides: a UUIDv7 of its time, its tenant by number (each fifth row is
# the big tenant's), four of five rows active.
PROJECTS: LiteralString = """
    SELECT CASE WHEN n %% %(share)s = 0 OR %(tenants)s = 1 THEN 0
                ELSE 1 + (n - n / %(share)s) %% (%(tenants)s - 1) END AS tenant,
           (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || substr(digest, 1, 3) || '8' || substr(digest, 4, 15))::uuid AS id,
           'Project ' || n AS name,
           CASE WHEN n %% 3 > 0 THEN 'What project ' || n || ' is for, in a line or so.' END
               AS description,
           hashint8(n) %% 5 <> 0 AS is_active,
           (n * 100)::bigint AS budget_cents,
           at
    FROM generate_series(1, %(projects)s::bigint) AS n,
         LATERAL (SELECT '2025-01-01Z'::timestamptz + n * interval '10 s' AS at,
                         md5(n::text) AS digest) AS derived
"""

INSERT: LiteralString = f"""
    INSERT INTO projects (tenant_id, id, name, description, is_active, budget_cents, version,
                          created_at, created_by, updated_at, updated_by)
    SELECT (%(ids)s::uuid[])[tenant + 1], id, name, description, is_active, budget_cents, 1,
           at, %(loader)s, at, %(loader)s
    FROM ({PROJECTS}) AS project
"""

SAMPLE: LiteralString = f"""
    SELECT tenant, id FROM (
        SELECT tenant, id, row_number() OVER (PARTITION BY tenant ORDER BY md5(id::text)) AS rank
        FROM ({PROJECTS}) AS project
    ) AS ranked
    WHERE rank <= greatest(1, %(size)s / %(tenants)s)
"""


def load(connection: Connection, tenant_ids: Sequence[UUID], projects: int) -> bool:
    """Make the table hold the rows; True when it had to be filled. Takes about 20 s a million."""
    forget_created(connection)
    present = connection.execute(
        "SELECT count(*) FROM projects WHERE created_by = %s AND tenant_id = ANY(%s)",
        [LOADER, list(tenant_ids)],
    ).fetchone()
    if present == (projects,):
        return False
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM projects WHERE created_by = %s", [LOADER])
        connection.execute(
            INSERT,
            {
                "ids": list(tenant_ids),
                "loader": LOADER,
                "share": BIG_TENANT_SHARE,
                "tenants": len(tenant_ids),
                "projects": projects,
            },
        )
    connection.execute("VACUUM (ANALYZE, FREEZE) projects")
    return True


def sample(connection: Connection, tenants: int, projects: int) -> list[tuple[int, UUID]]:
    """About SAMPLE_SIZE rows as (number of the tenant, id), as many of each tenant."""
    return connection.execute(
        SAMPLE,
        {
            "share": BIG_TENANT_SHARE,
            "tenants": tenants,
            "projects": projects,
            "size": SAMPLE_SIZE,
        },
    ).fetchall()


def settle(connection: Connection) -> None:
    """After a write round: no row of it is left, no dead row slows the next, and no checkpoint
    is due in the middle of it."""
    forget_created(connection)
    connection.execute("VACUUM projects")
    connection.execute("CHECKPOINT")


def forget_created(connection: Connection) -> None:
    """Remove what create rounds made. Replica mode keeps the audit triggers out of it."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM projects WHERE name LIKE %s", [CREATED_PREFIX + "%"])
