"""The outermost layer: it sees every answer, also a 404, a 405 and the failure of the app itself,
gives it its request id and headers, logs one line and counts it. Nothing here knows a tenant's
data."""

import structlog

from saas.errors import SaasError
from saas.usage.request_meter import RequestMeter
from saas.web.access_log import write_access_line
from saas.web.exchange import App, Exchange, Receive, Scope, Send
from saas.web.metrics import Metrics
from saas.web.problems import MEDIA_TYPE, problem_bytes


class Edge:
    """Wraps an ASGI app. Lifespan and websockets pass through untouched."""

    def __init__(
        self, app: App, *, access_log: bool, metrics: Metrics, meter: RequestMeter | None = None
    ) -> None:
        self.app = app
        self._has_access_log = access_log
        self._metrics = metrics
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        self._metrics.enter()
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.has_started:
                _note_break(exchange, error)
                # The server must see it, to break the connection: a clean end would pass the
                # half answer off as a whole one.
                raise
            await _fail(exchange, error)
        finally:
            exchange.finish()
            self._metrics.leave()
            self._metrics.record(exchange)
            if self._meter is not None and (whose := exchange.whose):
                size = exchange.bytes_in, exchange.bytes_out
                self._meter.count(whose, exchange.route, exchange.status, exchange.seconds, size)
            if self._has_access_log:
                write_access_line(exchange)


def _note_break(exchange: Exchange, error: Exception) -> None:
    """Litestar wraps what broke an answer off, and not every server logs what is inside."""
    cause = error.__cause__ or error
    structlog.get_logger().error(
        "answer_broken_off",
        reason=str(cause) if isinstance(cause, SaasError) else None,
        exc_info=None if isinstance(cause, SaasError) else cause,
        request_id=exchange.request_id.decode(),
    )


async def _fail(exchange: Exchange, error: Exception) -> None:
    """The last resort: the app raised, and nothing has been sent yet."""
    request_id = exchange.request_id.decode()
    structlog.get_logger().error("app_failed", exc_info=error, request_id=request_id)
    body = problem_bytes(SaasError(), request_id)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await exchange.send({"type": "http.response.start", "status": 500, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": body})
