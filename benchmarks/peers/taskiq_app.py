"""taskiq on a stream of Redis, its broker that acknowledges, and on uvloop; no results are kept."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, CoroutinesClient

broker = RedisStreamBroker(os.environ["REDIS_URL"])


@broker.task
async def doze(payload: str) -> None:
    note(payload)
    await asyncio.sleep(NAP_SECONDS)
    note(payload)


class Client(CoroutinesClient):
    async def doze(self, payloads: list[str]) -> None:
        await broker.startup()
        for payload in payloads:
            await doze.kiq(payload)
        await broker.shutdown()
