"""Kills of worker processes while they run quick jobs, whose results are written together."""

from __future__ import annotations

import time
from collections import Counter

from django_gearman.backends.gearmand.buffer import MOST_RESULTS

from ..ground import Ground
from ..report import Report
from .kills import Killer

TITLE = "quick jobs that append their numbers, while workers are killed"

WORKERS = 2
BATCH = 1000


def run(report: Report, ground: Ground, quick: bool) -> None:
    count, kills = (20_000, 5) if quick else (100_000, 20)
    server = ground.server()
    for start in range(0, count, BATCH):
        numbers = range(start, start + BATCH)
        calls = [{"number": number, "seconds": 0} for number in numbers]
        server.client.submit_multiple_jobs(
            [
                {"task": ground.task("append_quickly", call["number"]), "kwargs": call}
                for call in calls
            ],
            background=True,
        )
    worker = ground.worker(server.address, "-w", str(WORKERS))
    ground.serving(server, worker, WORKERS)
    killer = Killer(worker)
    started = time.monotonic()
    while killer.kills < kills and server.jobs() > 0:
        killer.kill(1)

    ground.wait(lambda: server.jobs() == 0, worker, "the queue is empty")
    seconds = time.monotonic() - started
    code, _ = worker.stop()

    appended = ground.marks().get("appended", Counter())
    missing = sorted(set(range(count)) - set(appended))
    more = appended.total() - len(appended)
    report.number("jobs submitted", count)
    report.number("worker processes killed", killer.kills)
    report.number("numbers that are there", len(appended))
    report.number("duplicates: finished jobs that ran again", more)
    report.number("most runs of one number", max(appended.values(), default=0))
    report.number("seconds until all had run", seconds)

    report.check(killer.kills > 0, "processes are killed while jobs run", killer.kills)
    report.check(not missing, "every number is there", f"missing are {missing[:20]}")
    most = killer.kills * (MOST_RESULTS + 1)  # and the one that has just ended
    report.check(more <= most, f"at most {most} finished jobs run again", more)
    report.check(code == 0, "the worker exits with 0", code)
