"""The peer's engine and its session for each request."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

# As FastAPI's tutorial and most seeds do it: commit, then read the row again. RETURNING has given
# it already, so the lean peer does not.
IS_LEAN = os.environ.get("PEER_LEAN") == "1"

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=10, max_overflow=0)
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def session_of_request() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session_of_request)]
