"""`saas doctor --reconcile`: are the figures of all tenants right?"""

import sys
from typing import NamedTuple

import msgspec
from rich.markup import escape
from rich.table import Column, Table

from saas.commands.on_database import err, find_tenant, out, print_json, with_database
from saas.db.database import Database
from saas.errors import SaasError, WrongTenantStatus
from saas.usage.truth import Comparison, FiguredTenant, compare, repair, tenants_with_figures


class Wish(NamedTuple):
    """`tenant` is a slug or id; all tenants without one. `repairs` sets right what is wrong."""

    tenant: str | None
    repairs: bool
    as_json: bool


class TenantDrift(msgspec.Struct, frozen=True):
    tenant: str
    figure: str
    counted: int
    true: int


class Report(msgspec.Struct, frozen=True):
    """How much was compared, what differs, and of whom nothing can be said."""

    tenants: int
    figures: int
    drift: list[TenantDrift]
    repaired: bool
    failed: dict[str, str]


def reconcile(wish: Wish) -> None:
    """Print what differs. Ends with exit code 1 where something is wrong and stays so."""
    report = with_database(lambda database, _: _reconciled(database, wish))
    if wish.as_json:
        print_json(report)
    else:
        _print(report)
    if report.failed or (report.drift and not report.repaired):
        sys.exit(1)


async def _reconciled(database: Database, wish: Wish) -> Report:
    act = repair if wish.repairs else compare
    compared: list[tuple[str, Comparison]] = []
    failed: dict[str, str] = {}
    for tenant in await _chosen(database, wish.tenant):
        try:
            compared.append((tenant.slug, await act(database, tenant.id)))
        except SaasError as error:  # What is wrong with one must not keep the others.
            failed[tenant.slug] = str(error)
    return Report(
        tenants=len(compared),
        figures=sum(found.figures for _, found in compared),
        drift=[
            TenantDrift(slug, drift.figure, drift.counted, drift.true)
            for slug, found in compared
            for drift in found.drift
        ],
        repaired=wish.repairs,
        failed=failed,
    )


async def _chosen(database: Database, name: str | None) -> list[FiguredTenant]:
    tenants = await tenants_with_figures(database)
    if name is None:
        return tenants
    wanted = await find_tenant(database, name)
    chosen = [tenant for tenant in tenants if tenant.id == wanted.id]
    if not chosen:  # It is purged, or being purged: "no drift" would say that it was looked at.
        raise WrongTenantStatus(
            f"Tenant {name} is {wanted.status}: it has no figures any more.", wanted.status
        )
    return chosen


def _print(report: Report) -> None:
    for slug, fault in report.failed.items():
        err.print(f"{slug}: {fault}", markup=False)
    compared = f"{report.figures} figures of {report.tenants} tenants were compared"
    if not report.drift:
        out.print(f"No drift: {compared}.")
        return
    numbers = (Column(name, justify="right") for name in ("counted", "true"))
    table = Table("tenant", "figure", *numbers)
    for drift in report.drift:
        # An actor's name may be anything that somebody has put into a setting.
        figure = "".join(sign if sign.isprintable() else "\ufffd" for sign in drift.figure)
        table.add_row(drift.tenant, escape(figure), str(drift.counted), str(drift.true))
    out.print(table)
    done = "and set right" if report.repaired else "`--repair` sets them right"
    out.print(f"{len(report.drift)} figures are wrong, {done}; {compared}.")
