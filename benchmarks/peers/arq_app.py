"""arq on Redis: no results are kept, and a worker polls every half second, its default."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, CoroutinesClient

REDIS = RedisSettings.from_dsn(os.environ["REDIS_URL"])

#: Its worker logs each job otherwise.
QUIET = {"version": 1, "loggers": {"arq": {"level": "WARNING"}}}


async def doze(context: dict[str, Any], payload: str) -> None:
    note(payload)
    await asyncio.sleep(NAP_SECONDS)
    note(payload)


class WorkerSettings:
    functions = (doze,)
    redis_settings = REDIS
    max_jobs = int(os.environ.get("SLOTS", "10"))
    keep_result = 0


class Client(CoroutinesClient):
    async def doze(self, payloads: list[str]) -> None:
        pool = await create_pool(REDIS)
        for payload in payloads:
            await pool.enqueue_job("doze", payload)
        await pool.aclose()
