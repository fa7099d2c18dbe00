"""Idle connections that die silently."""

from __future__ import annotations

import time

from ..ground import Ground, JobServer, Worker
from ..report import Report

TITLE = "idle connections that die silently, without FIN or RST"

WORKERS = 2
IDLE_SECONDS = 5.0
SECONDS = 60.0  # within which a job must start


def wait_noticed(ground: Ground, worker: Worker, times: int) -> None:
    def noticed() -> bool:
        found = worker.log_lines("has not answered for")
        return len(found) == WORKERS and min(found.values()) == times

    ground.wait(noticed, worker, "every process notices")


def wait_served(server: JobServer) -> float:
    """Submit a job, and return the seconds until it has run."""
    started = time.monotonic()
    _ = server.client.submit_job("work.release", 0.0, poll_timeout=SECONDS * 2).result
    return time.monotonic() - started


def run(report: Report, ground: Ground, quick: bool) -> None:
    server = ground.server()
    proxy = ground.proxy(server)
    worker = ground.worker(proxy.address, "-w", str(WORKERS))
    ground.serving(server, worker, WORKERS)
    wait_served(server)

    time.sleep(1.0 if quick else IDLE_SECONDS)
    proxy.cut()
    proxy.mend()  # for new connections
    at_once = wait_served(server)
    report.number("idle connections cut; seconds until the next job has run", at_once)
    report.check(at_once < SECONDS, f"it runs within {SECONDS:g} s", at_once)
    wait_noticed(ground, worker, 1)

    time.sleep(1.0 if quick else IDLE_SECONDS)
    started = time.monotonic()
    proxy.cut()
    wait_noticed(ground, worker, 2)
    noticed = time.monotonic() - started
    report.number("the path is cut for all; seconds until each process notices", noticed)
    report.check(noticed < SECONDS, f"they notice within {SECONDS:g} s", noticed)

    time.sleep(2.0 if quick else 20.0)  # attempts to connect again fail meanwhile
    proxy.mend()
    later = wait_served(server)
    report.number("the path is back; seconds until the next job has run", later)
    report.check(later < SECONDS, f"it runs within {SECONDS:g} s", later)
    code, _ = worker.stop()
    report.check(code == 0, "the worker exits with 0", code)
