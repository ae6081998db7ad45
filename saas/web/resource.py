"""A resource: one declaration that yields a repository and its routes."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from litestar.handlers import HTTPRouteHandler

from saas.db.models import TenantModel
from saas.db.repository import TenantRepository
from saas.web.cursors import Cursors
from saas.web.routes import Routed, resource_handlers
from saas.web.schemas import Create, Read, Update

Model = TypeVar("Model", bound=TenantModel)
ReadType = TypeVar("ReadType", bound=Read)


class Resource(Generic[Model, ReadType]):
    """CRUD, filter, search, sort, paging, soft delete, restore and history for one model.

    `search` names the text columns behind `q`; `natural_key` is unique among live rows of a
    tenant. `routes` are Litestar handlers beside the generated ones, under the same path; one
    with the same method and path takes the place of the generated one. Set `requires_match` to
    demand If-Match (428 without it). `repository` is a subclass of TenantRepository with questions
    of the resource's own, for its routes.
    """

    def __init__(
        self,
        model: type[Model],
        create: type[Create],
        update: type[Update],
        read: type[ReadType],
        *,
        search: Sequence[str] = (),
        natural_key: tuple[str, ...] = (),
        routes: Sequence[HTTPRouteHandler] = (),
        requires_match: bool = False,
        repository: type[TenantRepository[Model, ReadType]] = TenantRepository,
    ) -> None:
        self.name = model.__tablename__
        self.path = f"/v1/{self.name}"
        self.repository = repository(model, read, search=search, natural_key=natural_key)
        self.create, self.update, self.read = create, update, read
        self.routes = tuple(routes)
        self.requires_match = requires_match
        self._check_fields()

    def handlers(self, cursors: Cursors) -> list[HTTPRouteHandler]:
        """The handlers of this resource, ready to be mounted below `path`."""
        generated = resource_handlers(
            Routed(
                self.name,
                self.repository,
                cursors,
                self.create,
                self.update,
                self.read,
                self.requires_match,
            )
        )
        own = {(_method(h), path) for h in self.routes for path in h.paths}
        kept = [h for h in generated if not any((_method(h), p) in own for p in h.paths)]
        return [*kept, *self.routes]

    def _check_fields(self) -> None:
        columns = set(self.repository.table.c.keys())
        for schema in (self.create, self.update, self.read):
            unknown = set(schema.__struct_fields__) - columns
            if unknown:
                raise TypeError(f"{schema.__name__} has fields that are no columns: {unknown}")
        masked = {c.name for c in self.repository.table.c if c.info.get("masked")}
        if masked & set(self.read.__struct_fields__):
            raise TypeError(f"{self.read.__name__} shows masked columns: {masked}")


def _method(handler: HTTPRouteHandler) -> str:
    return min(handler.http_methods)


AnyResource = Resource[Any, Any]
