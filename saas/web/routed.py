"""What the builders of routes share."""

from typing import Any, NamedTuple

from litestar.connection import Request
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg

from saas.db.imports.service import ImportService
from saas.db.repository import TenantRepository
from saas.web.cursors import Cursors
from saas.web.schemas import Create, Read, Update

AnyRequest = Request[Any, Any, Any]
JSON_BODY = BodyKwarg(media_type=RequestEncodingType.JSON)


class Routed(NamedTuple):
    """What the routes need to know of a resource."""

    name: str
    repository: TenantRepository[Any, Any]
    cursors: Cursors
    create: type[Create]
    update: type[Update]
    read: type[Read]
    requires_match: bool
    imports: ImportService
    children: tuple["Nested", ...] = ()


class Nested(NamedTuple):
    """A resource whose rows may come with the create of their parent, which `column` refers to."""

    name: str
    repository: TenantRepository[Any, Any]
    create: type[Create]
    read: type[Read]
    column: str


def demanded(resource: Routed) -> tuple[int, ...]:
    """The refusal of a write without If-Match, where the resource demands it."""
    return (428,) if resource.requires_match else ()
