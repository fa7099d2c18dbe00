"""Jobs that leave state behind, fork and run out of time, with ordinary ones between them."""

from __future__ import annotations

import time

from ..ground import Ground
from ..report import Report

TITLE = "what a job leaves behind, forks or was doing when its time was up, harms no other one"

WORKERS = 2


def run(report: Report, ground: Ground, quick: bool) -> None:
    rounds = 20 if quick else 100
    server = ground.server()
    worker = ground.worker(server.address, "-w", str(WORKERS))
    ground.serving(server, worker, WORKERS)
    found: list[str] = []
    pools: list[float] = []
    limits = 0
    for number in range(rounds):
        server.client.submit_job("work.leaves", number, background=True)
        started = time.monotonic()
        doubled = server.client.submit_job("work.forks", number, poll_timeout=60.0).result
        pools.append(time.monotonic() - started)
        report.check(doubled == [2 * number], "a pool gives its result", doubled)
        request = server.client.submit_job("work.writes_rows", poll_timeout=60.0)
        limits += "JobTimeLimitExceeded" in str(request.exception)
        entries = [{"task": "work.is_clean"} for _ in range(2 * WORKERS)]
        for request in server.client.submit_multiple_jobs(entries, poll_timeout=60.0):
            report.check(request.state == "COMPLETE", "ordinary jobs succeed", request.exception)
            found += request.result if request.state == "COMPLETE" else []
    died = worker.output.count("; starting another one")
    registered = server.workers()
    code, _ = worker.stop()

    report.number("jobs that left something", rounds)
    report.number("ordinary jobs between them", 2 * WORKERS * rounds)
    report.number("... that found something left", len(found))
    report.number("pools of processes that ended", len(pools))
    report.seconds("until a pool had ended", pools)
    report.number("jobs whose time was up in a transaction", rounds)
    report.number("... which failed as such", limits)
    report.number("worker processes that died", died)
    report.check(not found, "nothing reaches the next job", found[:3])
    report.check(limits == rounds, "a time limit is reported as what it is", limits)
    report.check(not died, "no process dies of it", died)
    report.check(registered == WORKERS, "no child is a worker", registered)
    report.check(code == 0, "the worker exits with 0", code)
