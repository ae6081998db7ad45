"""Two hundred tenants of the product, onboarded through its API, so that they have real keys. The
keys are kept in the data folder, for they are shown only once."""

from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
import msgspec

from tests.bench.errors import BenchError


class Tenant(msgspec.Struct, frozen=True):
    id: UUID
    key: str


def onboard(base_url: str, *, platform_key: str, count: int, kept: Path) -> list[Tenant]:
    """The first `count` tenants; those that are missing in `kept` are made and added to it."""
    tenants = msgspec.json.decode(kept.read_bytes(), type=list[Tenant]) if kept.exists() else []
    if len(tenants) >= count:
        return tenants[:count]
    headers = {"Authorization": f"Bearer {platform_key}"}
    with httpx.Client(base_url=base_url, headers=headers, timeout=30, trust_env=False) as client:
        try:
            for number in range(len(tenants), count):
                tenants.append(_onboard_one(client, number, kept))
        finally:
            kept.touch(mode=0o600)
            kept.write_bytes(msgspec.json.encode(tenants))
    return tenants


def peer_ids(count: int) -> list[UUID]:
    """The tenants of the peer, which has no registry of them: any ids will do."""
    return [uuid5(NAMESPACE_URL, f"tenant-{number}") for number in range(count)]


def _onboard_one(client: httpx.Client, number: int, kept: Path) -> Tenant:
    slug = f"bench-{number:04d}"
    answer = client.post(
        "/v1/admin/tenants",
        json={
            "slug": slug,
            "name": f"Bench {number:04d}",
            "plan": "enterprise",
            "owner": {"email": f"owner@{slug}.test", "name": "Bench Owner"},
        },
    )
    if answer.status_code == 409:
        raise BenchError(f"tenant {slug} exists, but its key is not in {kept}: use a fresh --data")
    if answer.status_code != 201:
        raise BenchError(f"onboarding answered {answer.status_code}: {answer.text[:500]}")
    body = answer.json()
    return Tenant(UUID(body["tenant"]["id"]), body["api_key"]["key"])
