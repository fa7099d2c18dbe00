"""
The moments at which marked jobs run, told to the driver through a file.

A job whose payload is MARK writes the time of the monotonic clock, which all processes of a machine
share. Every system has such jobs, the peers in their own environment too: this imports nothing else.
"""

from __future__ import annotations

import os
import time

MARK = "mark"
FILE = "BENCHMARK_MARKS"  # the environment variable that names the file


def note(payload: str) -> None:
    """Tell the time if the job is a marked one."""
    if payload == MARK:
        with open(os.environ[FILE], "a") as file:
            file.write(f"{time.monotonic()}\n")
