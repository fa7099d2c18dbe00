"""Jobs for worker processes with several jobs at a time; each leaves its number when it begins."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from django_gearman import gearman_job
from tests.integration.marks import leave


def _may_end() -> bool:
    """Return True when the test has created the file that lets the jobs end."""
    return Path(os.environ["TRAIL"]).with_name("go").exists()


@gearman_job(queue="slow")
def nap(number: int, seconds: float) -> int:
    leave(f"began-{number}")
    time.sleep(seconds)
    leave(f"ended-{number}")
    return number


@gearman_job(queue="slow")
async def doze(number: int, seconds: float) -> int:
    leave(f"began-{number}")
    await asyncio.sleep(seconds)
    leave(f"ended-{number}")
    return number


@gearman_job(queue="slow", retries=2, backoff=0)
def wait(number: int) -> None:
    leave(f"began-{number}")
    while not _may_end():
        time.sleep(0.01)
    leave(f"ended-{number}")


@gearman_job(queue="slow", retries=2, backoff=0)
async def await_end(number: int) -> None:
    leave(f"began-{number}")
    while not _may_end():
        await asyncio.sleep(0.01)
    leave(f"ended-{number}")


@gearman_job(queue="slow", timeout=1)
def stuck() -> None:
    leave(f"stuck-{os.getpid()}")
    time.sleep(3600)


@gearman_job(queue="slow", timeout=0.3)
def spin() -> str:
    try:
        while True:
            time.sleep(0.01)
    finally:
        leave("interrupted")


@gearman_job(queue="slow", timeout=0.3)
async def linger() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        leave("interrupted")
