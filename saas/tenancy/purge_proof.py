"""How many rows of the bound tenant there are, by PostgreSQL's catalogue: what a purge counts at
its start, and what must be zero at its end."""

from collections.abc import Mapping

from saas.db.purge_statements import (
    COUNT_ROWS,
    TABLES_WITH_A_TENANT,
    purge_order,
    tenant_columns,
)
from saas.db.transaction import Transaction
from saas.errors import PurgeIncomplete


async def rows_held(work: Transaction) -> dict[str, int]:
    """By table, for every table with a tenant column, those without a row too. Raises
    PurgeIncomplete where the rows of one cannot be counted: a zero must be a proof."""
    held: dict[str, int] = {}
    uncounted: list[str] = []
    for table in await work.fetch(TABLES_WITH_A_TENANT, [tenant_columns()]):
        rows = await work.fetch(COUNT_ROWS, [table["relation"], table["tenant_column"]])
        found = rows[0]["held"]
        if found is None:
            uncounted.append(table["name"])
        else:
            held[table["name"]] = held.get(table["name"], 0) + found
    if uncounted:
        raise PurgeIncomplete(
            f"Whether rows of the tenant are in {', '.join(uncounted)} cannot be told: saas_owner "
            "must own the table, and its policies must be the product's."
        )
    return held


def refuse_undeclared(held: Mapping[str, int]) -> None:
    """Raise PurgeIncomplete where a table with rows is none of the models'."""
    declared = {table.name for table in purge_order()}
    strange = [name for name, rows in held.items() if rows and name not in declared]
    if strange:
        raise PurgeIncomplete(
            f"Nothing was deleted: {', '.join(strange)} has rows of the tenant, and no model here "
            "declares it. Name its module in SAAS_MODELS."
        )


def refuse_leftovers(held: Mapping[str, int]) -> None:
    """Raise PurgeIncomplete where any row is left."""
    left = [f"{name} ({rows})" for name, rows in held.items() if rows]
    if left:
        raise PurgeIncomplete(f"Rows of the tenant are left in {', '.join(left)}. Purge it again.")
