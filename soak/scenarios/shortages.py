"""A worker without descriptors, and hanging signal receivers, with their effect on other jobs."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from pathlib import Path

from ..ground import Ground
from ..report import Report
from .reloads import Waiting

TITLE = "no descriptors for a while, and receivers that hang: the rest is served meanwhile"

WORKERS = 6
FILES = 16  # descriptors, too few for all processes
GRACE_SECONDS = 5.0


def run(report: Report, ground: Ground, quick: bool) -> None:
    rounds = 2 if quick else 6
    server = ground.server()
    options = ("-w", str(WORKERS), f"--grace-period={GRACE_SECONDS:g}")
    worker = ground.worker(server.address, *options, FILES_LIMIT=str(FILES))
    ground.wait(lambda: "Too many open files" in worker.output, worker, "descriptors are short")
    ground.wait(lambda: server.workers() > 0, worker, "some processes serve")
    ordinary = [Waiting(server) for _ in range(2)]
    few = len(worker.children)
    for _ in range(rounds):
        os.kill(random.choice(worker.children), signal.SIGKILL)
        time.sleep(1.0)
    time.sleep(2.0)
    refused = worker.output.count("Too many open files; trying again")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    started = time.monotonic()
    ground.serving(server, worker, WORKERS)
    back = time.monotonic() - started
    descriptors = [open_files(worker.pid)]

    results = []
    for number in range(rounds):
        request = server.client.submit_job("work.hangs_who_hears", number, poll_timeout=60.0)
        results.append(request.result)
    ground.wait(
        lambda: worker.output.count("it exceeded its time limit") >= rounds,
        worker,
        "all who hang are killed",
    )
    ground.serving(server, worker, WORKERS)
    for _ in range(rounds):
        server.client.submit_job("work.dies_and_hangs_who_hears", background=True)
    ground.wait(lambda: len(ground.marks().get("hung", ())) >= rounds, worker, "reports hang")
    for client in ordinary:
        client.stop()
    ground.serving(server, worker, WORKERS)
    descriptors.append(open_files(worker.pid))
    code, seconds = worker.stop()
    took = [seconds for client in ordinary for seconds in client.took]
    errors = [error for client in ordinary for error in client.errors]
    hung = ground.marks()["hangs_who_hears"]

    report.number(f"processes of {WORKERS} that {FILES} descriptors are enough for", few)
    report.number("times that another could not be started", refused)
    report.number("then, seconds until all serve", back)
    report.number("jobs whose receivers hung", rounds)
    report.number("... which ran", hung.total())
    report.number("reports that hung", rounds)
    report.number("from SIGTERM to the exit, seconds", seconds)
    report.number("descriptors of the parent at the end", descriptors[1])
    report.number("ordinary jobs meanwhile", len(took))
    report.seconds("what they waited", took)
    report.number("ordinary jobs that failed", len(errors))

    report.check(0 < few < WORKERS, "some processes serve, and some cannot be started", few)
    report.check(refused >= 2, "it is tried again", refused)
    report.check(results == list(range(rounds)), "outcomes do not wait for receivers", results)
    report.check(hung.total() == rounds, "no job runs again for its receivers", hung)
    report.check(not errors, "ordinary jobs are unaffected", errors[:3])
    report.check(seconds < GRACE_SECONDS + 5, "reports that hang do not keep it", seconds)
    report.check(code == 0, "the worker exits with 0", code)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
