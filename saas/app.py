"""Composition: the only file that knows every part."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler

from saas.auth.permissions import EVERYONE
from saas.auth.verification_keys import public_keys_of
from saas.db.bulk_target import bulk_target
from saas.db.database import Database
from saas.db.doctor import check_installation, is_serving
from saas.db.imports.service import ImportService
from saas.db.transaction import commit_current
from saas.errors import ConfigurationError
from saas.features.admin import admin_handlers
from saas.features.archives import archive_handlers
from saas.features.audit import audit_handlers
from saas.features.imports import import_handlers
from saas.features.plans import plan_handlers
from saas.features.platform_stats import platform_stats_handlers
from saas.features.projects import projects
from saas.features.stats import stats_handlers
from saas.features.stats_activity import activity_handlers
from saas.features.stats_usage import usage_handlers
from saas.features.tasks import tasks
from saas.features.tenant_access import access_handlers
from saas.features.tenant_lifecycle import lifecycle_handlers
from saas.features.usage_events import post_events
from saas.identity import Identity, identity_of, people_handlers, shared_secret, token_issuer
from saas.installation import resolved
from saas.settings import Settings, load_settings
from saas.tenancy.middleware import TenancyMiddleware
from saas.tenancy.purging import purging
from saas.tenancy.rate_counters import Counters, OwnCounters
from saas.tenancy.rate_limits import RateLimits
from saas.tenancy.standing import require_active_tenant
from saas.usage.counting import counting
from saas.usage.request_meter import RequestMeter
from saas.web.cursors import Cursors
from saas.web.docs import docs_routes, openapi_config
from saas.web.health import health_handlers
from saas.web.idempotency import Idempotency
from saas.web.jwks import jwks_route
from saas.web.known_parameters import refuse_unknown_parameters
from saas.web.logs import configure_logging, output
from saas.web.metrics import Metrics, metrics_route
from saas.web.options import complete_options
from saas.web.problems import exception_handlers
from saas.web.resource import AnyResource
from saas.web.strict_request import StrictRequest
from saas.web.telemetry import Edge

# A product adds its resources here.
RESOURCES: tuple[AnyResource, ...] = (projects, tasks)


def create_app(
    settings: Settings | None = None, resources: Sequence[AnyResource] = RESOURCES
) -> Edge:
    """The ASGI app. `settings` default to the environment; it serves nothing before its lifespan
    has connected to the database and found both locks in place (ConfigurationError otherwise)."""
    settings = resolved(settings or load_settings())
    configure_logging(settings.log_level)
    metrics = Metrics()
    database = _database(settings)
    identity = identity_of(settings, database, [resource.name for resource in resources])
    counters = _counters_at(settings.redis_url)
    meter = RequestMeter(database, interval_seconds=settings.usage_seconds)
    imports = ImportService(
        database,
        {resource.name: bulk_target(resource) for resource in resources},
        max_bytes=settings.max_import_bytes,
        check=require_active_tenant,
    )
    litestar = Litestar(
        route_handlers=[
            *_handlers(settings, resources, metrics, imports),
            *people_handlers(settings, identity),
        ],
        middleware=[_middleware(settings, identity, counters)],
        lifespan=[
            _serving(settings, identity, counters, imports),
            _counting(settings, database, meter),
        ],
        before_request=refuse_unknown_parameters,
        after_request=_commit,
        exception_handlers=exception_handlers,
        request_class=StrictRequest,
        request_max_body_size=settings.max_body_bytes,
        openapi_config=openapi_config("SaaS API", "1"),
        logging_config=None,
    )
    _refuse_undeclared(litestar, identity.catalogue.all)
    complete_options(litestar)
    return Edge(
        litestar,  # type: ignore[arg-type]
        access_log=settings.access_log,
        metrics=metrics,
        meter=meter if settings.usage_seconds else None,
    )


def _database(settings: Settings) -> Database:
    if settings.database_url is None or settings.platform_database_url is None:
        raise ConfigurationError("SAAS_DATABASE_URL and SAAS_PLATFORM_DATABASE_URL are needed")
    return Database(
        settings.database_url,
        settings.platform_database_url,
        size=settings.pool_size,
        acquire_timeout_seconds=settings.pool_timeout_seconds,
        tenant_size=settings.connections_of_one_tenant,
    )


def _counters_at(url: str | None) -> Counters:
    """Those that all processes share, or this process' own without an address. Raises
    ConfigurationError for an address that is none, or without the package redis."""
    if url is None:
        return OwnCounters()
    # Only here: the library takes a while to import.
    from saas.tenancy.shared_counters import SharedCounters  # noqa: PLC0415

    return SharedCounters(url)


def _handlers(
    settings: Settings,
    resources: Sequence[AnyResource],
    metrics: Metrics,
    imports: ImportService,
) -> list[Router | HTTPRouteHandler]:
    cursors = Cursors(shared_secret(settings))
    routers = [
        Router(resource.path, route_handlers=resource.handlers(cursors, imports, resources))
        for resource in resources
    ]
    names = [resource.name for resource in resources]
    return [
        *routers,
        *audit_handlers(cursors),
        *stats_handlers(names),
        *platform_stats_handlers(names),
        post_events,
        *usage_handlers(names),
        *activity_handlers(names),
        *import_handlers(cursors, imports, names),
        *admin_handlers(cursors),
        *lifecycle_handlers(settings.offboarding_grace_days),
        *access_handlers(cursors),
        *plan_handlers,
        *archive_handlers(
            imports.database,
            most_exports=settings.most_exports,
            max_archive_bytes=settings.max_archive_bytes,
        ),
        *health_handlers(lambda: asyncio.to_thread(is_serving, str(settings.database_url))),
        jwks_route(public_keys_of(settings)),
        *docs_routes,
        metrics_route(metrics, settings.metrics_token),
    ]


def _middleware(settings: Settings, identity: Identity, counters: Counters) -> TenancyMiddleware:
    if settings.platform_key is None:
        raise ConfigurationError("SAAS_PLATFORM_KEY is needed")
    return TenancyMiddleware(
        identity.database,
        identity.resolver,
        token_issuer(settings, settings.platform_audience, requires_tenant=False),
        settings.platform_key,
        post=Idempotency(shared_secret(settings)),
        rates=RateLimits(counters),
    )


def _serving(
    settings: Settings, identity: Identity, counters: Counters, imports: ImportService
) -> Any:
    @asynccontextmanager
    async def serving(_: Litestar) -> AsyncIterator[None]:
        # Refuse to serve where a lock is missing: on such a connection RLS would be silent.
        findings = await asyncio.to_thread(
            check_installation,
            str(settings.database_url),
            str(settings.platform_database_url),
            environment=settings.environment,
        )
        if findings.errors:
            raise ConfigurationError("; ".join(findings.errors))
        database = identity.database
        purges = purging(database, settings.purge_interval_seconds)
        refreshing = identity.tokens.external.refreshing()
        written, working = identity.uses.written(), imports.workers.serving()
        async with database, refreshing, written, purges, working:
            yield
        await counters.close()
        # The servers end a worker without running its exit handlers.
        output.flush()

    return serving


def _counting(settings: Settings, database: Database, meter: RequestMeter) -> Any:
    @asynccontextmanager
    async def counted(_: Litestar) -> AsyncIterator[None]:
        async with counting(database, settings.usage_seconds), meter.written():
            yield

    return counted


async def _commit(response: Any) -> Any:
    """Commit before the answer starts: a constraint that fails only now is still a refusal."""
    await commit_current()
    return response


def _refuse_undeclared(litestar: Litestar, permissions: frozenset[str]) -> None:
    """Fail closed at the start: a tenant route without a permission, or with one that no role has,
    would serve nobody anyway. Raises ConfigurationError."""
    for route in litestar.routes:
        for handler in getattr(route, "route_handlers", ()):
            opt = handler.opt
            if opt.get("plane", "tenant") != "tenant" or "OPTIONS" in handler.http_methods:
                continue
            if "permission" not in opt:
                raise ConfigurationError(f"{handler} declares neither plane nor permission")
            if opt["permission"] not in {EVERYONE, *permissions}:
                known = ", ".join(sorted(permissions))
                raise ConfigurationError(
                    f"{handler} needs {opt['permission']!r}, which no role has. There are {known}"
                )
