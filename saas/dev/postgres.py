"""The embedded PostgreSQL 18 of an installation: start, adopt, stop. Nothing of its contents."""

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from saas.dev.account import server_account
from saas.dev.cluster import SUPERUSER, check_version, create_cluster, server_programs
from saas.dev.home import recorded_home, settle_home
from saas.dev.lock import installation_holder, join_users, leave_users, server_lock
from saas.dev.postmaster import find_postmaster
from saas.dev.server import adopt, end, launch
from saas.dev.sockets import PORT, remove_socket_dir, socket_dir_for
from saas.errors import ConfigurationError

_logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """The server of the installation in `data_dir`, whoever started it.

    `durable=False` trades safety against power loss for speed: for tests only. Every method
    raises ConfigurationError, one line for the operator, when it cannot keep its promise.
    """

    superuser: ClassVar[str] = SUPERUSER
    owned: bool
    """True after `start` unless another process runs the installation: then call `stop`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        log: Callable[[str], None] = _logger.info,
    ) -> None:
        self.owned = False
        self._data_dir = Path(os.path.realpath(data_dir))
        self._durable = durable
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._users_file: int | None = None

    @property
    def socket_dir(self) -> Path:
        """Where the server listens; where it would, while none runs."""
        server = find_postmaster(self._cluster)
        if server is not None and server.socket_dir is not None:
            return server.socket_dir
        return socket_dir_for(self._cluster)

    def dsn(self, user: str, database: str = "saas") -> str:
        """The address as a URL for psql, psycopg and asyncpg. There is no password."""
        address = f"{quote(user, safe='')}@/{quote(database, safe='')}"
        return f"postgresql://{address}?host={quote(str(self.socket_dir), safe='')}&port={PORT}"

    def start(self) -> None:
        """Serve: adopt the running server of this cluster, else start one, making it at first.

        A server that a killed process left behind is adopted; one that was itself killed is
        started anew and recovers.
        """
        with self._alone():
            self._start()
            if self._users_file is None:
                self._users_file = join_users(self._data_dir)
            self.owned = installation_holder(self._data_dir) in (None, os.getpid())

    def stop(self, *, immediate: bool = False) -> None:
        """End the server, whoever started it, and wait until it is gone.

        `immediate` leaves recovery to the next start. The server stays for a process that runs
        the installation, and, when none does, for the last process that called `start`.
        """
        with self._alone():
            is_last = leave_users(self._data_dir, self._users_file)
            self._users_file, self.owned = None, False
            holder = installation_holder(self._data_dir)
            if holder == os.getpid() or (holder is None and is_last):
                socket_dir = self.socket_dir
                end(self._cluster, signal.SIGQUIT if immediate else signal.SIGINT)
                remove_socket_dir(socket_dir, self._cluster)
                self._collect()

    def _start(self) -> None:
        home = recorded_home(self._data_dir)
        check_version(home / "pg")
        account = server_account((home / "pg", self._data_dir))
        home = settle_home(self._data_dir, account, log=self._log)
        cluster = home / "pg"
        if adopt(cluster, account):
            return
        self._collect()
        programs = server_programs(home, account, log=self._log)
        if not cluster.exists():
            create_cluster(cluster, account, programs=programs, durable=self._durable)
        self._process = launch(
            cluster,
            account,
            programs=programs,
            durable=self._durable,
            log_file=self._data_dir / "postgres.log",
        )

    @property
    def _cluster(self) -> Path:
        return recorded_home(self._data_dir) / "pg"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with server_lock(self._data_dir):
                yield
        except OSError as error:
            raise ConfigurationError(
                f"the embedded PostgreSQL of {self._data_dir} cannot be used: {error}"
            ) from None

    def _collect(self) -> None:
        """Take note of the end of our child, known to be dead, so that no zombie stays."""
        if self._process is not None:
            self._process.wait()
            self._process = None
