"""What the commands that work on an installation's database share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console

from saas.db.database import Database
from saas.dev.run import running_database
from saas.settings import Settings, load_settings

Result = TypeVar("Result")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def with_database(
    work: Callable[[Database, Settings], Awaitable[Result]], *, prepare: bool = False
) -> Result:
    """The result of `work` on the running installation, whose embedded server is started for it
    where it stands; `prepare` also migrates it."""

    async def main(settings: Settings) -> Result:
        urls = str(settings.database_url), str(settings.platform_database_url)
        async with Database(*urls, size=2) as database:
            return await work(database, settings)

    with running_database(load_settings(), err, prepare=prepare) as settings:
        return asyncio.run(main(settings))
