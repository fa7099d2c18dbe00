"""
A client in a separate process, which follows the driver: one line of JSON each way.

    python -m benchmarks.agent benchmarks.ours:Client

The argument names a class. Each request is the name of one of its methods and its arguments; the
answer is the return value. The peers run this in their own environment, so it imports nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module

BULK = 1000  # jobs that are submitted together, if the system supports this


def timed(work: Callable[[], object], count: int) -> list[float]:
    """Return the seconds of each of `count` calls."""
    clock = time.perf_counter
    times = []
    for _ in range(count):
        started = clock()
        work()
        times.append(clock() - started)
    return times


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def batches(count: int) -> list[int]:
    """Return the sizes of the batches for a number of jobs."""
    return [min(BULK, count - start) for start in range(0, count, BULK)]


def main(path: str) -> None:
    # Output of the libraries must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = path.partition(":")
    client = None
    for line in sys.stdin:
        method, arguments = json.loads(line)
        answer: dict[str, object]
        try:
            client = client or getattr(import_module(module), name)()
            answer = {"result": getattr(client, method)(**arguments)}
        except Exception:  # noqa: BLE001 - the driver raises it
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
