"""Before anything is measured, each contender must give the right answers."""

from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.bench.contenders import Contender
from tests.bench.dataset import CREATED_PREFIX
from tests.bench.errors import BenchError
from tests.bench.plans import LIST, Sample, batch_body

FIELDS = frozenset(
    {
        *("id", "version", "name", "description", "is_active", "budget_cents"),
        *("created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by"),
    }
)


def verify(contender: Contender, sample: Sample) -> list[str]:
    """Try every operation once for the biggest tenant and for the last one. Returns the ids that
    the list gives them. Raises BenchError on the first wrong answer."""
    own = dict(sample)
    listed: list[str] = []
    with httpx.Client(base_url=contender.url + contender.prefix, trust_env=False) as client:
        for tenant in (0, len(contender.credentials) - 1):
            name, _, value = contender.credentials[tenant].partition(": ")
            client.headers[name] = value
            probe = Probe(client, contender.name)
            probe.get(own[tenant])
            listed += probe.list()
            probe.patch(own[tenant])
            probe.create()
            if contender.name != "floor":
                probe.batch()
            for other, id in own.items():
                if other != tenant:
                    probe.ask("GET", f"/projects/{id}", status=404)
                    break
    return listed


class Probe:
    """One tenant's view of one contender."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, id: UUID) -> None:
        row = self._row(self.ask("GET", f"/projects/{id}"))
        self._expect(row["id"] == str(id), "get one gives another row")

    def list(self) -> list[str]:
        rows = [self._row(item) for item in self.ask("GET", LIST)["items"]]
        keys = [(row["created_at"], row["id"]) for row in rows]
        self._expect(len(rows) == 20, f"list gives {len(rows)} rows instead of 20")
        self._expect(all(row["is_active"] for row in rows), "list is not filtered")
        self._expect(keys == sorted(keys, reverse=True), "list is not sorted")
        total = self.ask("GET", f"{LIST}&include_total=true")["total"]
        self._expect(total >= 20, "list gives a wrong total")
        return [row["id"] for row in rows]

    def patch(self, id: UUID) -> None:
        before = self.ask("GET", f"/projects/{id}")
        change = {"name": f"Changed {uuid4()}", "budget_cents": 1}
        after = self._row(self.ask("PATCH", f"/projects/{id}", body=change))
        self._expect(after | change == after, "patch changes nothing")
        self._expect(after["version"] == before["version"] + 1, "patch keeps the version")
        self._expect(self.ask("GET", f"/projects/{id}") == after, "patch is not stored")

    def create(self) -> None:
        body = {"name": f"{CREATED_PREFIX}{uuid4()}", "budget_cents": 1}
        made = self._row(self.ask("POST", "/projects", body=body, status=201))
        self._expect(self.ask("GET", f"/projects/{made['id']}") == made, "create is not stored")

    def batch(self) -> None:
        body = batch_body(f"{CREATED_PREFIX}{uuid4()}", 3)
        answer = self._client.post(
            "/projects/batch", content=body, headers={"Content-Type": "application/json"}
        )
        self._expect(answer.status_code == 200, f"batch answers {answer.text[:300]}")
        for number, made in enumerate(answer.json()["results"]):
            row = self._row(self.ask("GET", f"/projects/{made['id']}"))
            self._expect(row["budget_cents"] == number, "batch stores another row")

    def ask(self, method: str, path: str, *, body: object = None, status: int = 200) -> Any:
        answer = self._client.request(method, path, json=body)
        self._expect(
            answer.status_code == status,
            f"{method} {path} answers {answer.status_code}: {answer.text[:300]}",
        )
        return answer.json()

    def _row(self, row: Any) -> dict[str, Any]:
        self._expect(set(row) >= FIELDS, f"fields are missing: {sorted(FIELDS - set(row))}")
        return dict(row)

    def _expect(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise BenchError(f"{self._name}: {otherwise}")
