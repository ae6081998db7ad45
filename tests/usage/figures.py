"""What is counted of a tenant, past all locks, and what it must come to."""

from typing import Any, NamedTuple

from saas.usage.folding import IN_QUARTER

_HELD = """SELECT entity, sum(live) AS live, sum(active) AS active, sum(removed) AS removed,
  sum(bytes) AS bytes
FROM (SELECT tenant, entity, live, active, removed, bytes FROM usage_totals
      UNION ALL
      SELECT tenant, entity, live, active, removed, bytes FROM usage_changes) AS had
WHERE tenant = %s GROUP BY entity"""
_DONE = f"""SELECT {IN_QUARTER} AS at, entity, actor, sum(created) AS created,
  sum(updated) AS updated, sum(deleted) AS deleted
FROM (SELECT tenant, at, entity, actor, created, updated, deleted FROM usage_activity
      UNION ALL
      SELECT tenant, at, entity, actor, created, updated, deleted FROM usage_changes) AS had
WHERE tenant = %s GROUP BY 1, 2, 3"""


class Figures(NamedTuple):
    """By table what there is; by quarter of an hour, table and actor what was done."""

    held: dict[str, dict[str, int]]
    done: dict[Any, dict[str, int]]


def counted_in(connection: Any, tenant: str) -> Figures:
    """Folded or not. The connection gives rows as dictionaries."""
    return _figures(*(connection.execute(sql, [tenant]).fetchall() for sql in (_HELD, _DONE)))


def true_in(connection: Any, tenant: str) -> Figures:
    """From the tenant's rows and log themselves."""
    with connection.transaction():
        connection.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
        functions = ("usage_of_rows", "usage_of_log")
        return _figures(*(connection.execute(f"SELECT * FROM {f}()").fetchall() for f in functions))


def _figures(held: list[dict[str, Any]], done: list[dict[str, Any]]) -> Figures:
    """One of zeros is none."""
    return Figures(
        {row["entity"]: numbers for row in held if any((numbers := _numbers(row)).values())},
        {
            (row["at"], row["entity"], row["actor"]): numbers
            for row in done
            if any((numbers := _numbers(row)).values())
        },
    )


def _numbers(row: dict[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in row.items() if name not in _KEYS}


_KEYS = ("at", "entity", "actor")
