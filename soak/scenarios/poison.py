"""Jobs that kill, hang and starve their processes, and their effect on other jobs."""

from __future__ import annotations

import time

from django_gearman.exceptions import JobRaised

from ..ground import Ground
from ..ordinary import Ordinary
from ..report import Report

TITLE = "jobs that kill, hang or starve their process are stopped, and others served meanwhile"

WORKERS = 4
# function: how often it runs
EXPECTED = {
    "exits": 3,  # retries=2
    "kills": 3,
    "kills_without_retries": 3,  # given to another worker at most twice
    "never_ends": 2,  # retries=1
    "takes_memory": 2,
}
MEMORY_MB = 900


def run(report: Report, ground: Ground, quick: bool) -> None:
    rounds = 1 if quick else 3
    server = ground.server()
    limit = {"MEMORY_LIMIT": str(MEMORY_MB)}
    worker = ground.worker(server.address, "-w", str(WORKERS), **limit)
    ground.serving(server, worker, WORKERS)
    ordinary = Ordinary(server)
    started = time.monotonic()
    waited = []
    for _ in range(rounds):
        for name in EXPECTED:
            server.client.submit_job(f"work.{name}", background=True)

        def stopped() -> bool:
            totals = server.totals()
            left = {name: totals.get(f"work.{name}", (0, 0, 0))[0] for name in EXPECTED}
            return bool(totals) and not any(left.values())

        ground.wait(stopped, worker, "the poison is gone")
        waited.append(time.monotonic() - started)
        started = time.monotonic()
    marks = ground.marks()
    message = ""
    try:
        _ = server.client.submit_job("work.exits", poll_timeout=60.0).result
    except JobRaised as error:
        message = error.exception_type
    ordinary.stop()
    ground.serving(server, worker, WORKERS)
    code, _ = worker.stop()

    report.number("poison jobs submitted, in the background", rounds * len(EXPECTED))
    for name, runs in EXPECTED.items():
        ran = marks[name].total()
        report.number(f"runs of {name}, each of {rounds}", ran / rounds)
        report.check(ran == runs * rounds, f"{name} runs {runs} times", ran / rounds)
    report.seconds("until a round of them was done with", waited)
    report.number("processes that died of it", worker.output.count("; starting another one"))
    ordinary.report(report)
    report.number("the error for a client of a poison job", message.rpartition(".")[2])

    report.check(message.endswith("WorkerDied"), "who waits for a poison job learns of it", message)
    report.check(code == 0, "the worker exits with 0", code)
