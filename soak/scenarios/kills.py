"""Kills of worker processes at random, and of the job server, while jobs are submitted and run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter

from django_gearman import GearmanClient
from django_gearman.exceptions import ServerUnavailable, SubmitUncertain

from ..ground import Ground, JobServer, Worker
from ..report import Report

TITLE = "jobs that append their numbers, while workers and the job server are killed"

WORKERS = 4


class Submitting(threading.Thread):
    """
    A client that submits a job for each number, again and again until a server has acknowledged it.
    """

    def __init__(self, ground: Ground, client: GearmanClient, count: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._ground = ground
        self.unavailable = 0
        self.uncertain: Counter[int] = Counter()  # by number: it may have been queued as well
        self.error: Exception | None = None
        self._client = client
        self._count = count
        self._pause = seconds / count
        self.start()

    def run(self) -> None:
        try:
            for number in range(self._count):
                while not self._submit(number):
                    time.sleep(0.1)
                time.sleep(self._pause * random.uniform(0.0, 1.0))
        except Exception as error:  # noqa: BLE001 - whatever it is, the scenario has failed
            self.error = error

    def _submit(self, number: int) -> bool:
        seconds = random.uniform(0.02, 0.06)
        try:
            if number % 2:
                name, more = "append_again", {"fails": number % 50 == 1}
            else:
                name, more = "append", {}
            task = self._ground.task(name, number // 2)
            call = {"number": number, "seconds": seconds, **more}
            self._client.submit_job(task, kwargs=call, background=True)
        except ServerUnavailable:  # nothing was sent
            self.unavailable += 1
            return False
        except SubmitUncertain:  # it may be queued now; sent again, it may run twice
            self.uncertain[number] += 1
            return False
        return True


class Killer:
    """A thread that kills the child processes of a worker, at random times."""

    def __init__(self, worker: Worker) -> None:
        self.kills = 0
        self._worker = worker

    def kill(self, times: int) -> None:
        for _ in range(times):
            time.sleep(random.uniform(0.3, 1.2))
            while not (running := self._worker.children):
                time.sleep(0.01)
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(running), signal.SIGKILL)
                self.kills += 1


def restart(server: JobServer) -> None:
    """Kill the job server, and start it again after a while."""
    server.kill()
    time.sleep(random.uniform(1.0, 2.0))
    server.start()


def run(report: Report, ground: Ground, quick: bool) -> None:
    count, kills, restarts = (300, 5, 1) if quick else (2000, 20, 2)
    server = ground.server(durable=True)
    worker = ground.worker(server.address, "-q=default:2", "-q=again:2")  # four in all
    ground.serving(server, worker, WORKERS // 2)
    started = time.monotonic()
    submitting = Submitting(ground, server.client, count, seconds=kills * 0.75)
    killer = Killer(worker)
    parts = [kills // (restarts + 1)] * restarts
    for part in parts:
        killer.kill(part)
        restart(server)
    killer.kill(kills - sum(parts))
    submitting.join()
    submitted = time.monotonic() - started
    if submitting.error is not None:
        raise submitting.error

    def drained() -> bool:
        return server.jobs() == 0

    ground.wait(drained, worker, "the queue is empty")
    seconds = time.monotonic() - started
    left = server.stored()
    ground.wait(lambda: not server.stored(), worker, "the queue on disk is empty")
    code, _ = worker.stop()

    marks = ground.marks()
    began, appended = marks.get("began", Counter()), marks.get("appended", Counter())
    raised = marks.get("raised", Counter())
    missing = sorted(set(range(count)) - set(appended))
    uncertain = submitting.uncertain.total()
    more = began.total() - len(began)
    report.number("jobs submitted", count)
    report.number(
        "submissions refused while the server was down, sent again", submitting.unavailable
    )
    report.number("submissions not acknowledged, sent again", uncertain)
    report.number("worker processes killed", killer.kills)
    report.number("... while a job ran", worker.output.count("; starting another one"))
    for how, words in (("submitted again", "failed in attempt"), ("left to others", "is given to")):
        lines = [line for line in worker.output.splitlines() if words in line and "its" in line]
        report.number(f"... which was {how}", len(lines))
    report.number("job server killed", restarts)
    report.number("attempts that raised, and were retried", raised.total())
    report.number("runs", began.total())
    report.number("redeliveries and retries: runs beyond the first", more)
    report.number("numbers that are there", len(appended))
    report.number("duplicates: numbers appended once more", appended.total() - len(appended))
    report.number("most runs of one number", max(began.values(), default=0))
    report.number("seconds until all were submitted", submitted)
    report.number("seconds until all had run", seconds)

    report.check(not missing, "every number is there", f"missing are {missing[:20]}")
    # After a kill, a server assigns current jobs again: one for each process, and one whose process
    # had just died.
    deaths = killer.kills + restarts * (WORKERS + 1)
    most = deaths * ground.threads + raised.total() + uncertain
    report.check(more <= most, f"at most {most} runs beyond the first", more)
    for number, times in began.items():
        most = 1 + killer.kills + restarts + raised[number] + submitting.uncertain[number]
        report.check(times <= most, f"number {number} runs at most {most} times", times)
    report.check(not left, "the queue on disk ends empty", left)
    report.check(code == 0, "the worker exits with 0", code)
