"""Two demo tenants for the first start, so that a newcomer can see them kept apart."""

from pathlib import Path

import msgspec

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import platform_transaction, transaction
from saas.features.projects import projects
from saas.features.tasks import tasks
from saas.tenancy.directory import tenants
from saas.tenancy.onboarding import Onboard, Owner, onboard

_TENANTS = {
    "acme": ("Acme Inc.", "ada@acme.test", ("Rocket", "Anvil", "Road runner trap")),
    "globex": ("Globex Corp.", "hank@globex.test", ("Volcano", "Weather machine")),
}
_ACTOR = "system:seed"


class DemoTenant(msgspec.Struct, frozen=True):
    slug: str
    id: str
    key: str


async def seed_once(database: Database, kept_in: Path) -> list[DemoTenant]:
    """The demo tenants and their keys, made on the first call in an installation without any
    tenant. The keys are kept in the file `kept_in`, readable by its owner alone."""
    kept = _read(kept_in)
    if kept is not None:
        return kept
    async with platform_transaction(database):
        if (await tenants()).items:
            return []
    made = [await _seed(database, slug) for slug in _TENANTS]
    _write(kept_in, made)
    return made


async def _seed(database: Database, slug: str) -> DemoTenant:
    name, email, names = _TENANTS[slug]
    wish = Onboard(slug=slug, name=name, plan="enterprise", owner=Owner(email=email, name=email))
    async with platform_transaction(database):
        done = await onboard(wish, actor=_ACTOR)
    with acting_as(Principal(tenant_id=done.tenant.id, actor=_ACTOR)):
        async with transaction(database):
            for project in names:
                row = await projects.repository.create({"name": project})
                await tasks.repository.create({"project_id": row.id, "title": f"Plan {project}"})
    return DemoTenant(slug, str(done.tenant.id), done.api_key.text)


def _read(path: Path) -> list[DemoTenant] | None:
    return msgspec.json.decode(path.read_bytes(), type=list[DemoTenant]) if path.exists() else None


def _write(path: Path, tenants: list[DemoTenant]) -> None:
    # Moved into place, so that a kill leaves no half file, which no start could read.
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(tenants))
    fresh.replace(path)
