"""Two demo tenants for the first start, so that a newcomer can see them kept apart."""

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import platform_transaction, transaction
from saas.dev.demo import DemoTenant
from saas.features.projects import projects
from saas.features.tasks import tasks
from saas.settings import Settings
from saas.tenancy.directory import tenants
from saas.tenancy.onboarding import Onboard, Owner, onboard

_TENANTS = {
    "acme": ("Acme Inc.", "ada@acme.test", ("Rocket", "Anvil", "Road runner trap")),
    "globex": ("Globex Corp.", "hank@globex.test", ("Volcano", "Weather machine")),
}
_ACTOR = "system:seed"


async def seed(settings: Settings) -> list[DemoTenant]:
    """Make the demo tenants; none in an installation that has a tenant."""
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=2) as database:
        async with platform_transaction(database):
            if (await tenants()).items:
                return []
        return [await _seed(database, slug) for slug in _TENANTS]


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
