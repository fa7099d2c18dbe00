"""The jobs of the benchmark: some do nothing, some wait, and others return their argument."""

from __future__ import annotations

import asyncio
import os
import time

from django_gearman import gearman_job

from .growth import OTHERS
from .marks import note

NAP_SECONDS = 0.05


@gearman_job
def noop(payload: str) -> None:
    note(payload)


@gearman_job
async def async_noop(payload: str) -> None:
    note(payload)


@gearman_job
def nap(payload: str) -> None:
    note(payload)
    time.sleep(NAP_SECONDS)
    note(payload)


@gearman_job
async def doze(payload: str) -> None:
    note(payload)
    await asyncio.sleep(NAP_SECONDS)
    note(payload)


@gearman_job
def echo(payload: str) -> str:
    return payload


@gearman_job(serializer="raw")
def echo_bytes(payload: bytes) -> bytes:
    return payload


def _other(payload: str) -> str:
    return payload


for _number in range(int(os.environ.get(OTHERS, "0"))):
    gearman_job(name=f"benchmarks.other_{_number}")(_other)
