"""Stops of a worker with SIGTERM, under load."""

from __future__ import annotations

import random
import time

from ..ground import Ground
from ..report import Report

TITLE = "SIGTERM under load"

WORKERS = 4
GRACE_SECONDS = 30.0


def run(report: Report, ground: Ground, quick: bool) -> None:
    count, rounds = (200, 2) if quick else (1200, 5)
    count *= ground.threads
    server = ground.server()
    calls = [
        {"number": number, "seconds": 2.0 if number % 100 == 50 else random.uniform(0.0, 0.1)}
        for number in range(count)
    ]
    server.client.submit_multiple_jobs(
        [
            {"task": ground.task("append", number), "kwargs": call}
            for number, call in enumerate(calls)
        ],
        background=True,
    )
    codes, took, torn, in_hand = [], [], 0, 0
    arguments = ("-w", str(WORKERS), f"--grace-period={GRACE_SECONDS:g}")
    for _ in range(rounds):
        before = len(ground.marks().get("began", ()))
        worker = ground.worker(server.address, *arguments)

        def busy(before: int = before) -> bool:
            return len(ground.marks().get("began", ())) > before + 20

        ground.wait(busy, worker, "the worker works")
        time.sleep(random.uniform(0.0, 1.0))
        marks = ground.marks()
        in_hand += marks["began"].total() - marks.get("ended", marks["began"]).total()
        code, seconds = worker.stop()
        codes.append(code)
        took.append(seconds)
        marks = ground.marks()
        torn += marks["began"].total() - marks["ended"].total()
    left = server.jobs()
    last = ground.worker(server.address, *arguments, "--burst")
    code = last.wait()
    began, ended = ground.marks()["began"], ground.marks()["ended"]

    report.number("jobs submitted", count)
    report.number("times a worker of four processes was stopped", rounds)
    report.number("jobs running at SIGTERM, in all", in_hand)
    report.number("jobs left to a last worker", left)
    report.seconds("from SIGTERM to the exit", took)
    report.number("numbers lost", count - len(ended))
    report.number("numbers doubled", began.total() - len(began))

    report.check(codes == [0] * rounds, "each exits with 0", codes)
    report.check(max(took) < GRACE_SECONDS, "each exits within its grace period", max(took))
    report.check(not torn, "each job that began has ended when its worker has", torn)
    report.check(left > 0, "there was load until the end: make the jobs more", left)
    report.check(code == 0, "the last worker, with --burst, exits with 0", code)
    report.check(not server.jobs(), "the queue ends empty", server.jobs())
    report.check(sorted(ended) == list(range(count)), "no number is lost", count - len(ended))
    report.check(began.total() == count, "no number is doubled", began.total() - len(began))
