"""Outages of the job server, and a server that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..ground import Ground, JobServer, Worker
from ..report import Report

TITLE = "the job server down, and hung"

WORKERS = 4
SECONDS = 60.0  # within which the workers must be back


def outage(
    report: Report,
    ground: Ground,
    server: JobServer,
    worker: Worker,
    *,
    how: str,
    begin: Callable[[], None],
    end: Callable[[], None],
    seconds: float,
    idle: float,
) -> None:
    """Report on an outage; `idle` is the CPU time of the busiest idle process, per cent."""
    is_back = f"job server {server.address} is back"
    lost = worker.log_lines("trying again until it is back")
    back = worker.log_lines(is_back)
    begin()
    percent, busiest = worker.cpu_percent(seconds)
    said = worker.log_lines("trying again until it is back") - lost
    report.number(f"{how} for so many seconds", seconds)
    report.number("CPU time of the parent and its four processes, per cent", percent)
    report.number("... of the busiest of them", busiest)
    report.number("processes that say so", len(said))
    report.number("lines in which they say so", said.total())
    # Some hosts charge milliseconds for each wake-up: then a process that only sleeps has more.
    most = max(1.0, 2 * idle)
    report.check(busiest < most, f"{how}: each process uses under {most:.1f} % of a CPU", busiest)
    report.check(
        sorted(said.values()) == [1] * WORKERS, f"{how}: each process says so once", dict(said)
    )

    started = time.monotonic()
    end()
    _ = server.client.submit_job("work.release", 0.0, poll_timeout=SECONDS * 2).result
    report.number("then, seconds until the next job has run", time.monotonic() - started)

    def all_back() -> bool:
        return sorted((worker.log_lines(is_back) - back).values()) == [1] * WORKERS

    ground.wait(all_back, worker, "each process is back, and says so once")
    took = time.monotonic() - started
    report.number("seconds until all processes are back", took)
    report.check(took < SECONDS, f"{how}: back within {SECONDS:g} s", took)


def run(report: Report, ground: Ground, quick: bool) -> None:
    seconds = 15.0 if quick else 30.0
    server = ground.server()
    worker = ground.worker(server.address, "-w", str(WORKERS))
    ground.serving(server, worker, WORKERS)
    time.sleep(2.0)
    percent, idle = worker.cpu_percent(seconds / 3)
    report.number("CPU time with nothing to do, per cent", percent)
    down = {"how": "down", "begin": server.kill, "end": server.start}
    hung = {"how": "hung", "begin": server.pause, "end": server.resume}
    for kind in (down, hung):
        outage(report, ground, server, worker, seconds=seconds, idle=idle, **kind)  # type: ignore[arg-type]
    code, _ = worker.stop()
    report.check(code == 0, "the worker exits with 0", code)
