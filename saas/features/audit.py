"""The tenant's audit log: who changed what, when, from where. Readable, never writable."""

from typing import Any

from litestar import get
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.db.audit import AuditEntry
from saas.web.cursors import Cursors
from saas.web.described import described, list_parameters
from saas.web.history_routes import audit_entries
from saas.web.pages import ListBody, list_answer, parse_page


def audit_handlers(cursors: Cursors) -> list[HTTPRouteHandler]:
    """`GET /v1/audit`, with filters on entity, entity_id, actor, action, at and request_id."""

    @get(
        "/v1/audit",
        **described(
            "audit.list",
            "Who changed what",
            permission="audit:read",
            success=200,
            body=ListBody[AuditEntry],
            refusals=(400,),
            parameters=list_parameters(audit_entries.grammar),
        ),
    )
    async def list_audit(request: Request[Any, Any, Any]) -> ASGIApp:
        query = parse_page(request, "audit", audit_entries.grammar, cursors)
        page = await audit_entries.list(query)
        return list_answer(request, "audit", query, page, cursors)

    return [list_audit]
