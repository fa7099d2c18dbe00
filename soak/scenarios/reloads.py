"""Releases deployed with SIGHUP, one after another, while clients wait for results."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter

from ..ground import Ground, JobServer
from ..report import Report
from ..watching import wait_until

TITLE = "SIGHUP under load, with a new release of the code each time"

WORKERS = 4
CLIENTS = 6


class Waiting(threading.Thread):
    """A client that submits a job and waits for its result, again and again until it is stopped."""

    def __init__(self, server: JobServer, task: str = "work.release") -> None:
        super().__init__(daemon=True)
        self._task = task
        self.releases: Counter[int] = Counter()
        self.took: list[float] = []
        self.errors: list[str] = []
        self.last = 0
        self.is_stopping = False
        self._client = server.client
        self.start()

    def run(self) -> None:
        while not self.is_stopping:
            started = time.monotonic()
            try:
                request = self._client.submit_job(self._task, 0.02, poll_timeout=60.0)
                self.last = request.result
                self.releases[self.last] += 1
            except Exception as error:  # noqa: BLE001 - it is what this looks for
                self.errors.append(repr(error))
            self.took.append(time.monotonic() - started)

    def stop(self) -> None:
        self.is_stopping = True
        self.join(90)


class Counting(threading.Thread):
    """A client that counts the workers of the job server, again and again."""

    def __init__(self, server: JobServer) -> None:
        super().__init__(daemon=True)
        self.counts: Counter[int] = Counter()
        self.is_stopping = False
        self._server = server
        self.start()

    def run(self) -> None:
        while not self.is_stopping:
            self.counts[self._server.workers()] += 1
            time.sleep(0.005)

    def stop(self) -> None:
        self.is_stopping = True
        self.join(30)


def run(report: Report, ground: Ground, quick: bool) -> None:
    releases = range(2, 4 if quick else 7)
    server = ground.server()
    worker = ground.worker(server.address, "-w", str(WORKERS))
    ground.serving(server, worker, WORKERS)
    counting = Counting(server)
    clients = [Waiting(server, ground.task("release", number)) for number in range(CLIENTS)]
    took = []
    generations = {frozenset(worker.children)}
    for number in releases:
        before = set(worker.children)
        ground.release(number)
        started = time.monotonic()
        worker.send(signal.SIGHUP)

        def replaced(before: set[int] = before) -> bool:
            now = worker.children
            return len(now) == WORKERS and not before & set(now)

        ground.wait(replaced, worker, "all processes are replaced")
        took.append(time.monotonic() - started)
        generations.add(frozenset(worker.children))
        for client in clients:  # its job was assigned after that, the second time at the latest
            done = client.releases.total()
            wait_until(lambda c=client, d=done: c.releases.total() >= d + 2, "results come in")  # type: ignore[misc]
        found = {client.last for client in clients}
        report.check(found == {number}, f"after the reload only release {number} runs", found)

    before = set(worker.children)
    ground.release(99, code="this is no Python\n")
    worker.send(signal.SIGHUP)
    ground.wait(lambda: "Reload failed" in worker.output, worker, "a wrong release is found")
    time.sleep(0.5)
    report.check(set(worker.children) == before, "a release that cannot start replaces nothing")

    for client in clients:
        client.stop()
    counting.stop()
    code, _ = worker.stop()
    results = sum((client.releases for client in clients), Counter[int]())
    errors = [error for client in clients for error in client.errors]

    report.number("reloads", len(releases))
    report.seconds("from SIGHUP until all four processes were replaced", took)
    report.number("foreground jobs meanwhile, of six clients", results.total())
    report.number("errors that clients saw", len(errors))
    report.seconds("what a client waited for its result", [s for c in clients for s in c.took])
    report.number("looks at gearmand's list of workers", counting.counts.total())
    report.number("fewest processes registered", min(counting.counts))
    report.number("releases that ran", len(results))
    report.number("releases refused by the check, and nothing replaced", 1)

    report.check(not errors, "no client sees an error", errors[:3])
    fewest = min(counting.counts)
    report.check(fewest >= WORKERS - 1, f"never fewer than {WORKERS - 1} registered", fewest)
    ran = sorted(results)
    report.check(ran == [1, *releases], "each release runs, and no other", ran)
    report.check(code == 0, "the worker exits with 0", code)
