"""The set-up of one bench and its end: servers started, rows loaded, answers verified."""

import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from saas.dev.postgres import EmbeddedPostgres
from tests.bench import contenders, dataset, plans, postgres, tenants
from tests.bench.contenders import Contender
from tests.bench.errors import BenchError
from tests.bench.options import Options
from tests.bench.verify import verify


class Lab(msgspec.Struct, frozen=True):
    """All that is running, verified and ready to be loaded; the peer comes first."""

    server: EmbeddedPostgres
    contenders: Sequence[Contender]
    sample: plans.Sample

    def settle(self, contender: Contender) -> None:
        """Put the contender's table back to what it was, whoever loaded it."""
        with postgres.connect(self.server, contender.database) as connection:
            dataset.settle(connection)


@contextmanager
def opened(options: Options, console: Console) -> Iterator[Lab]:
    """Start all of it in the data folder, and stop it at the end."""
    make_folder(options.data)
    server = EmbeddedPostgres(options.data / "saas")
    with ExitStack() as stack:
        try:
            stack.callback(server.stop)
            server.start()
            with console.status(f"Preparing {options.projects:,} projects for each contender"):
                lab = _set_up(stack, server, options)
            yield lab
        finally:
            # A second Ctrl-C must not leave anything running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_folder(folder: Path) -> None:
    """The data folder, which keeps itself out of git."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")


def write_plans(lab: Lab, operation: str, options: Options) -> dict[Contender, Path]:
    """What wrk shall send to each contender, in the order of their turns."""
    return {
        contender: plans.write(contender, operation, sample=lab.sample, folder=options.data)
        for contender in lab.contenders
        if operation not in plans.WITHOUT_FLOOR or contender.name != "floor"
    }


def _set_up(stack: ExitStack, server: EmbeddedPostgres, options: Options) -> Lab:
    product = _open_product(stack, options) if options.product else None
    _fill(server, product, options)
    peer, *floor = _open_peers(stack, server, options)
    with postgres.connect(server, postgres.PEER) as connection:
        sample = dataset.sample(connection, options.tenants, options.projects)
    lab = Lab(server, [peer, *([product] if product else []), *floor], sample)
    _verify(lab)
    return lab


def _open_product(stack: ExitStack, options: Options) -> Contender:
    platform_key = secrets.token_urlsafe(32)
    product = contenders.start_product(
        options.data, asgi_server=options.server, platform_key=platform_key
    )
    stack.callback(product.server.stop)
    onboarded = tenants.onboard(
        product.url,
        platform_key=platform_key,
        count=options.tenants,
        kept=options.data / "keys.json",
    )
    return msgspec.structs.replace(
        product,
        tenant_ids=tuple(tenant.id for tenant in onboarded),
        credentials=tuple(f"Authorization: Bearer {tenant.key}" for tenant in onboarded),
    )


def _open_peers(stack: ExitStack, server: EmbeddedPostgres, options: Options) -> list[Contender]:
    """The peer, and those chosen beside it: all on the peer's table, tenant by header."""
    postgres.set_floor_security(server, is_measured=options.floor)
    ids = tenants.peer_ids(options.tenants)
    started = []
    for start, url, is_chosen in (
        (contenders.start_peer, postgres.peer_url(server), True),
        (contenders.start_lean, postgres.peer_url(server), options.lean),
        (contenders.start_floor, postgres.floor_url(server), options.floor),
    ):
        if is_chosen:
            contender = start(options.data, database_url=url, database=postgres.PEER)
            stack.callback(contender.server.stop)
            headers = tuple(f"X-Tenant-ID: {id}" for id in ids)
            started.append(
                msgspec.structs.replace(contender, tenant_ids=tuple(ids), credentials=headers)
            )
    return started


def _fill(server: EmbeddedPostgres, product: Contender | None, options: Options) -> None:
    postgres.create_peer_database(server)
    with postgres.connect(server, postgres.PEER) as connection:
        dataset.load(connection, tenants.peer_ids(options.tenants), options.projects)
    if product:
        with postgres.connect(server, product.database) as connection:
            dataset.load(connection, product.tenant_ids, options.projects)


def _verify(lab: Lab) -> None:
    """Every contender answers rightly, and all of them list the same rows."""
    listed = {}
    for contender in lab.contenders:
        listed[contender.name] = verify(contender, lab.sample)
        lab.settle(contender)
    reference = listed[lab.contenders[0].name]
    for name, ids in listed.items():
        if ids != reference:
            raise BenchError(f"{name} lists other rows than {lab.contenders[0].name}")
