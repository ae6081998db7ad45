"""Whether the server may listen where the settings say."""

import errno
import socket
import time

from saas.errors import ConfigurationError
from saas.settings import Settings

_SECONDS = 2


def refuse_taken_port(settings: Settings) -> None:
    """Raises ConfigurationError where the server could not listen. Waits a moment for the workers
    of a killed server, who end by themselves."""
    deadline = time.monotonic() + _SECONDS
    while (fault := _fault(settings)) is not None:
        if fault.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port} ({fault.strerror}); "
                "set SAAS_PORT to another port"
            )
        time.sleep(0.05)


def _fault(settings: Settings) -> OSError | None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return error
    return None
