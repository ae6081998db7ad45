"""A resource: one declaration that yields a repository and its routes."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET

from saas.db.imports.service import ImportService
from saas.db.models import TenantModel
from saas.db.repository import TenantRepository
from saas.web.cursors import Cursors
from saas.web.history_routes import history_handlers
from saas.web.routed import Nested, Routed
from saas.web.routes import resource_handlers
from saas.web.schemas import Create, Read, Update

Model = TypeVar("Model", bound=TenantModel)
ReadType = TypeVar("ReadType", bound=Read)


class Resource(Generic[Model, ReadType]):
    """CRUD, filter, search, sort, paging, soft delete, restore, history and revert for one model.

    `search` names the text columns behind `q`; `natural_key` is unique among live rows of a
    tenant. `routes` are Litestar handlers beside the generated ones, under the same path; one
    with the same method and path takes the place of the generated one. Set `requires_match` to
    demand If-Match (428 without it), `nested_in` to a reference to let rows come with the create
    of their parent: `POST /v1/projects {"name": …, "tasks": [{"title": …}]}`. `repository` is a
    subclass of TenantRepository with questions of the resource's own, for its routes.
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
        nested_in: str | None = None,
        repository: type[TenantRepository[Model, ReadType]] = TenantRepository,
    ) -> None:
        self.name = model.__tablename__
        self.path = f"/v1/{self.name}"
        self.repository = repository(model, read, search=search, natural_key=natural_key)
        self.create, self.update, self.read = create, update, read
        self.routes = tuple(routes)
        self.requires_match = requires_match
        self.nested_in = nested_in
        self._check_fields()

    def handlers(
        self, cursors: Cursors, imports: ImportService, others: Sequence["AnyResource"] = ()
    ) -> list[HTTPRouteHandler]:
        """The handlers of this resource, ready to be mounted below `path`; those of `others` that
        are nested in it come with its create."""
        routed = Routed(
            self.name,
            self.repository,
            cursors,
            self.create,
            self.update,
            self.read,
            self.requires_match,
            imports,
            tuple(child for other in others for child in other.nested_below(self.name)),
        )
        generated = [*resource_handlers(routed), *history_handlers(routed)]
        own = {(_method(h), path) for h in self.routes for path in h.paths}
        kept = [h for h in generated if not any((_method(h), p) in own for p in h.paths)]
        return [*kept, *self.routes]

    def nested_below(self, parent: str) -> Iterator[Nested]:
        """This resource as a child in the create of `parent`, if it is one."""
        column = self.nested_in
        if column is not None and self.repository.operations.references[column] == parent:
            yield Nested(self.name, self.repository, self.create, self.read, column)

    def _check_fields(self) -> None:
        columns = set(self.repository.table.c.keys())
        for schema in (self.create, self.update, self.read):
            unknown = set(schema.__struct_fields__) - columns
            if unknown:
                raise TypeError(f"{schema.__name__} has fields that are no columns: {unknown}")
        for field in msgspec.structs.fields(self.update):
            if field.default is not UNSET:
                name = f"{self.update.__name__}.{field.name}"
                raise TypeError(f"{name}: its default is to be UNSET; else a PATCH sets it unasked")
        references = self.repository.operations.references
        if self.nested_in is not None and self.nested_in not in references:
            raise TypeError(f"{self.name}: nested_in={self.nested_in!r} is no reference")
        masked = {c.name for c in self.repository.table.c if c.info.get("masked")}
        if masked & set(self.read.__struct_fields__):
            raise TypeError(f"{self.read.__name__} shows masked columns: {masked}")


def _method(handler: HTTPRouteHandler) -> str:
    return min(handler.http_methods)


AnyResource = Resource[Any, Any]
