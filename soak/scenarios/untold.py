"""Jobs that break reading, reporting and logging, and their effect on other jobs."""

from __future__ import annotations

import time

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.exceptions import GearmanError
from django_gearman.protocol.address import ServerAddress

from ..ground import Ground, JobServer
from ..ordinary import Ordinary
from ..report import Report

TITLE = "jobs that break reading, reporting and telling end, and others are served meanwhile"

WORKERS = 3
MEMORY_MB = 400
LARGE_BYTES = 150_000_000
DEPTHS = range(930, 1010)  # at some depths a value can be read, but not its repr
# function: how often it runs
EXPECTED = {
    "raises_value": None,  # at some depths it cannot be read
    "cannot_be_told": 3,  # retries=2
    "kills_who_tells": 1,
    "interrupts": 1,
}


def run(report: Report, ground: Ground, quick: bool) -> None:
    rounds = 1 if quick else 3
    server = ground.server()
    limit = {"MEMORY_LIMIT": str(MEMORY_MB)}
    worker = ground.worker(server.address, "-w", str(WORKERS), **limit)
    ground.serving(server, worker, WORKERS)
    ordinary = Ordinary(server)
    reasons = []
    waited = []
    for _ in range(rounds):
        started = time.monotonic()
        submit_brackets(server)
        for name in list(EXPECTED)[1:]:
            server.client.submit_job(f"work.{name}", background=True)
        reasons.append(why_large_job_fails(server))

        def ended() -> bool:
            totals = server.totals()
            left = [totals.get(f"work.{name}", (0, 0, 0))[0] for name in EXPECTED]
            return bool(totals) and not any(left)

        ground.wait(ended, worker, "all of them have ended")
        waited.append(time.monotonic() - started)
    ordinary.stop()
    ground.serving(server, worker, WORKERS)
    code, _ = worker.stop()
    deaths = worker.output.count("; starting another one")

    report.number("jobs of nested brackets, which fail with them", rounds * len(DEPTHS))
    report.number("jobs that cannot be reported, or kill the reporter", rounds * 3)
    report.number(f"jobs of {LARGE_BYTES // 10**6} MB, in {MEMORY_MB} MB of memory", rounds)
    report.seconds("until a round of them had ended", waited)
    report.number("processes that died of it", deaths)
    ordinary.report(report)
    report.number("the error for a client of a large job", reasons[0])

    marks = ground.marks()
    for name, runs in EXPECTED.items():
        if runs is not None:
            ran = marks[name].total()
            report.check(ran == runs * rounds, f"{name} runs {runs} times", ran / rounds)
    failed = worker.output.count("job work.raises_value")
    report.check(failed == rounds * len(DEPTHS), "each job of brackets is one record", failed)
    report.check(set(reasons) == {"WorkerDied"}, "a job that cannot be read fails", reasons)
    # Three for each large job, and the one that reports kills_who_tells.
    report.check(deaths == rounds * 4, "nothing else costs a process", deaths)
    report.check(code == 0, "the worker exits with 0", code)


def submit_brackets(server: JobServer) -> None:
    def nested(depth: int) -> bytes:
        return b'{"args":[' + b"[" * depth + b"]" * depth + b'],"kwargs":{}}'

    backend = GearmandBackend([ServerAddress("127.0.0.1", server.port)])
    backend.submit([JobSpec("work.raises_value", nested(n), background=True) for n in DEPTHS])
    backend.close()


def why_large_job_fails(server: JobServer) -> str:
    try:
        request = server.client.submit_job("work.release", "x" * LARGE_BYTES, poll_timeout=120.0)
        return f"a result, {request.result!r:.50}"
    except GearmanError as error:
        name = getattr(error, "exception_type", "") or type(error).__name__
        return str(name).rpartition(".")[2]
