"""Batches over HTTP, and what their reports say."""


def created(*names, **values):
    return [{"op": "create", "data": {"name": name, **values}} for name in names]


async def batch(tenant, items, **options):
    resource = options.pop("resource", "projects")
    return await tenant.post(f"/v1/{resource}/batch", {"items": items, **options})


async def names(tenant, query=""):
    rows = (await tenant.get(f"/v1/projects?limit=100{query}")).json()["items"]
    return {row["name"] for row in rows}


def statuses(answer):
    return [result["status"] for result in answer.json()["results"]]


def failures(answer):
    """Of each failed item: index, code, and the codes by pointer."""
    return {
        result["index"]: (
            result["error"]["code"],
            {fault["pointer"]: fault["code"] for fault in result["error"]["errors"]},
        )
        for result in answer.json()["results"]
        if result["status"] == "failed"
    }
