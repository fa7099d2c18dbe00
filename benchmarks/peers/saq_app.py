"""SAQ on Redis: no results are kept."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from saq import Queue

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, CoroutinesClient


def queue() -> Queue:
    return Queue.from_url(os.environ["REDIS_URL"])


async def doze(context: dict[str, Any], *, payload: str) -> None:
    note(payload)
    await asyncio.sleep(NAP_SECONDS)
    note(payload)


#: What its worker reads.
settings = {
    "queue": queue(),
    "functions": [doze],
    "concurrency": int(os.environ.get("SLOTS", "10")),
}


class Client(CoroutinesClient):
    async def doze(self, payloads: list[str]) -> None:
        jobs = queue()
        for payload in payloads:
            await jobs.enqueue("doze", payload=payload, ttl=-1)
        await jobs.disconnect()
