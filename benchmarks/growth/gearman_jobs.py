"""The jobs: one that returns its argument, one for bytes, and as many others as are asked for."""

from __future__ import annotations

import os

from benchmarks.growth import OTHERS
from django_gearman import gearman_job


@gearman_job
def echo(payload: str) -> str:
    return payload


@gearman_job(serializer="raw")
def echo_bytes(payload: bytes) -> bytes:
    return payload


def _other(payload: str) -> str:
    return payload


for _number in range(int(os.environ.get(OTHERS, "0"))):
    gearman_job(name=f"benchmarks.growth.other_{_number}")(_other)
