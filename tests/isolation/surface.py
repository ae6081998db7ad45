"""Every route and resource of the product, found by asking the app: nothing is listed by hand."""

import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar.routes import HTTPRoute
from msgspec.inspect import Field, ListType, StructType, Type, UUIDType

from saas.app import RESOURCES, create_app
from saas.db.inspected_types import flat
from saas.db.models import tenant_tables
from saas.settings import Settings
from saas.web.resource import AnyResource
from saas.web.telemetry import Edge

Pointer = tuple[str | int, ...]

_PARAMETER = re.compile(r"{([^}]+)}")


class Route(NamedTuple):
    """One method of one path; `path` holds each parameter as `{name}`."""

    method: str
    path: str
    plane: str
    resource: str | None
    body: Any
    takes_file: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETER.findall(self.path))

    @property
    def is_generated(self) -> bool:
        """One of the routes that every resource has, whose success is known."""
        return self.resource is not None and self.path in {
            f"/v1/{self.resource}{rest}" for rest in ("", "/{id}", "/{id}/restore", "/{id}/history")
        }


def routes_of(app: Edge) -> list[Route]:
    """Every method of every route that `app` serves, in a stable order."""
    found = []
    for route in app.app.routes:  # type: ignore[attr-defined]  # Litestar behind the ASGI type
        if not isinstance(route, HTTPRoute):
            raise TypeError(f"{route.path} is no HTTP route: these tests would not attack it")
        for method, (handler, _) in route.route_handler_map.items():
            data = handler.parsed_fn_signature.parameters.get("data")
            one = Route(
                str(method),
                route.path_format,
                _plane_of(str(method), handler.opt),
                _resource_of(route.path_format),
                data.annotation if data else None,
                "receive" in handler.opt,
            )
            # The edge answers HEAD by GET.
            found += [one, one._replace(method="HEAD")] if method == "GET" else [one]
    return sorted(found, key=str)


def _plane_of(method: str, opt: dict[str, Any]) -> str:
    # Litestar's own OPTIONS handlers declare nothing, and answer everybody.
    undeclared = "open" if method == "OPTIONS" and not opt else "tenant"
    return str(opt.get("plane", undeclared))


def _resource_of(path: str) -> str | None:
    for resource in RESOURCES:
        if path == resource.path or path.startswith(f"{resource.path}/"):
            return resource.name
    return None


def _declared() -> list[Route]:
    """The app is made, and never connected, so that the tests can be named at collection."""
    nowhere = "postgresql://nobody@localhost/nothing"
    settings = Settings(
        database_url=nowhere,
        platform_database_url=nowhere,
        platform_key="unused",
        jwt_secret="unused, but it must be long enough",
    )
    return routes_of(create_app(settings))


ROUTES = _declared()
TENANT_ROUTES = [route for route in ROUTES if route.plane == "tenant"]
ROUTES_TO_ROWS = [r for r in TENANT_ROUTES if r.parameters]
ROUTES_TO_READ = [r for r in ROUTES if r.method == "GET" and not r.parameters]
ROUTES_THAT_WRITE = [
    r for r in TENANT_ROUTES if r.method not in {"GET", "HEAD"} and not r.parameters
]
ROUTES_WITH_BODY = [r for r in TENANT_ROUTES if r.body is not None]
RESOURCE_BY_NAME: dict[str, AnyResource] = {resource.name: resource for resource in RESOURCES}


def references_of(name: str | None) -> dict[str, str]:
    """The columns that name a row of another table: of all tenants' tables, for a body may hold
    rows of several; those of the table `name` go before."""
    return (_references(None) | _references(name)) if name else _references(None)


def _references(name: str | None) -> dict[str, str]:
    return {
        column.name: column.info["references"]
        for table in tenant_tables()
        if name is None or table.name == name
        for column in table.columns
        if "references" in column.info
    }


def id_pointers(body: Any) -> list[Pointer]:
    """Where in a body of this type an id may stand."""
    return [] if body is None else list(_ids(msgspec.inspect.type_info(body), ()))


def _ids(kind: Type, at: Pointer) -> list[Pointer]:
    return [pointer for member in flat(kind) for pointer in _ids_in(member, at)]


def _ids_in(kind: Type, at: Pointer) -> list[Pointer]:
    if isinstance(kind, UUIDType):
        return [at]
    if isinstance(kind, ListType):
        items = enumerate(members(kind.item_type))
        return [pointer for n, item in items for pointer in _ids(item, (*at, n))]
    if isinstance(kind, StructType):
        fields: tuple[Field, ...] = kind.fields
        return [p for field in fields for p in _ids(field.type, (*at, field.encode_name))]
    return []


def members(kind: Type) -> tuple[Type, ...]:
    """The kinds of items in a list: each of a tagged union, or the one."""
    union = tuple(flat(kind))
    return union if all(isinstance(one, StructType) for one in union) else (kind,)


def columns_with_ids() -> list[str]:
    """The name of every column that holds an id, of whatever table."""
    tables = tenant_tables()
    return sorted({c.name for t in tables for c in t.columns if c.type.python_type is UUID})
