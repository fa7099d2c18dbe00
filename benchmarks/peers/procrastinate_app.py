"""Procrastinate on a PostgreSQL that writes each commit to the disk, with twenty connections."""

from __future__ import annotations

import asyncio
import os

import procrastinate

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, CoroutinesClient

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo="host=127.0.0.1 port={BENCHMARK_POSTGRES} user=test dbname=postgres".format_map(
            os.environ
        ),
        max_size=20,
    )
)


@app.task(name="doze")
async def doze(payload: str) -> None:
    note(payload)
    await asyncio.sleep(NAP_SECONDS)
    note(payload)


class Client(CoroutinesClient):
    async def doze(self, payloads: list[str]) -> None:
        async with app.open_async():
            await doze.batch_defer_async(*({"payload": payload} for payload in payloads))
