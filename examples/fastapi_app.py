"""A web app that shows recommendations and tells the fleet what was just played.

    REDIS_URL=redis://127.0.0.1:6379 uvicorn examples.fastapi_app:app

Handlers that record or enqueue are plain functions: FastAPI runs them in a thread, so that a slow Redis holds up no
other request. In an
``async`` handler the same call is ``await asyncio.to_thread(producers.record_plays, […])``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException

import producers
from timbral.errors import MessageError, RedisUnavailableError


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    producers.close()


app = FastAPI(lifespan=lifespan)


@app.get("/home/{user_id}")
async def home(user_id: int) -> dict[str, Any]:
    """One read of the cache; answers while Redis is away, too (with nothing)."""
    items = await asyncio.to_thread(producers.get_recommendations, user_id, popular_if_cold=True)
    return {"items": items or []}


@app.post("/played")
def played(user_id: int, item_id: int) -> dict[str, int]:
    """The user has just played something: their list follows by itself."""
    try:
        recorded = producers.record_plays([{"user_id": user_id, "item_id": item_id}])
    except MessageError as error:
        raise HTTPException(422, str(error)) from error
    except RedisUnavailableError as error:
        raise HTTPException(503, "try again in a moment") from error
    return {"recorded": recorded}


@app.get("/jobs/{job_id}")
def job(job_id: str) -> dict[str, Any]:
    """How a job is, whichever process has sent it."""
    found = producers.job(job_id)
    return {"state": found.state, "progress": found.progress._asdict()}


@app.post("/dislike")
def dislike(user_id: int, item_id: int) -> dict[str, int]:
    """Never again: counts from the next read on."""
    return {"blocked": producers.block_items(user_id, [item_id])}
