"""The numbers of the HTTP edge for Prometheus, and the guarded route that shows them.

Labels come from closed sets (route templates, known methods, status classes), so no caller can
make the number of series grow.
"""

import hmac
import os
from collections.abc import Callable
from typing import NamedTuple

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from saas.errors import Unauthenticated
from saas.web.exchange import Exchange

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class _Series(NamedTuple):
    add_request: Callable[[], None]
    observe_seconds: Callable[[float], None]
    add_bytes: Callable[[float], None]


class Metrics:
    """The series of one app. More may be registered on `registry`."""

    def __init__(self) -> None:
        # The time of each series' birth would double the text, and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # Untyped in the library.
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time until the app was done with a request.",
            ("method", "route"),
            buckets=_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter(
            "http_response_bytes",
            "Body bytes sent.",
            ("method", "route"),
            registry=self.registry,
        )
        in_flight = Gauge(
            "http_requests_in_flight",
            "Requests being answered now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.enter = in_flight.inc
        self.leave = in_flight.dec
        # labels() takes a lock and builds strings: too dear for each request.
        self._series: dict[tuple[str, str, int], _Series] = {}

    def record(self, exchange: Exchange) -> None:
        """Count one finished exchange."""
        method: str = exchange.method
        key = (method if method in _METHODS else "other", exchange.route, exchange.status // 100)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._series_of(*key)
        series.add_request()
        series.observe_seconds(exchange.seconds)
        series.add_bytes(exchange.bytes_out)

    def exposition(self) -> bytes:
        """All series in Prometheus' text format; those of every worker when the workers share
        PROMETHEUS_MULTIPROC_DIR."""
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            shared = CollectorRegistry()
            MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # Likewise.
            return generate_latest(shared)
        return generate_latest(self.registry)

    def _series_of(self, method: str, route: str, status_class: int) -> _Series:
        return _Series(
            self._requests.labels(method, route, f"{status_class}xx").inc,
            self._seconds.labels(method, route).observe,
            self._bytes.labels(method, route).inc,
        )


def metrics_route(metrics: Metrics, token: str | None) -> HTTPRouteHandler:
    """`GET /metrics` for the bearer of `token`; for nobody when there is no token."""
    expected = f"Bearer {token}".encode() if token else None

    @get("/metrics", opt={"plane": "open"}, include_in_schema=False, sync_to_thread=False)
    def read_metrics(request: Request) -> Response[bytes]:  # type: ignore[type-arg]
        sent = request.headers.getall("authorization", [])
        # Constant time, so that the answer's delay does not tell a right beginning.
        is_known = (
            expected is not None
            and len(sent) == 1
            and hmac.compare_digest(sent[0].encode("latin-1"), expected)
        )
        if not is_known:
            raise Unauthenticated
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return read_metrics
