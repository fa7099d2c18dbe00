"""
Times of marked jobs, which the driver reads from a file.

A job whose payload is MARK writes the monotonic time, which is the same for all processes of a
machine. Every system has such jobs, the peers in their own environment too: this imports nothing
else.
"""

from __future__ import annotations

import os
import time

MARK = "mark"
FILE = "BENCHMARK_MARKS"  # the environment variable that names the file


def note(payload: str) -> None:
    """Write the time if the job is marked."""
    if payload == MARK:
        with open(os.environ[FILE], "a") as file:
            file.write(f"{time.monotonic()}\n")
