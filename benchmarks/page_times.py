"""Fills the database of the settings with records, and measures each of the admin's pages."""

from __future__ import annotations

import argparse
import datetime
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django

django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402

from benchmarks.page_jobs.gearman_jobs import JOBS  # noqa: E402
from django_gearman.contrib.store.models import JobRecord  # noqa: E402
from django_gearman.management.asking import ask_servers  # noqa: E402

ROWS = 20_000  # that are made in Python; the others are copies of these
TIMES = 5
#: The share of each status among the jobs that have not failed.
OTHERS = {"SUCCESSFUL": 0.94, "READY": 0.03, "CANCELLED": 0.0297, "RUNNING": 0.0003}
SECONDS = 28 * 86400


def fill(records: int, failed: float) -> None:
    """Write records: 40 jobs in 10 queues, 280 kinds of failures, over four weeks."""
    chance, now = random.Random(1), datetime.datetime.now(datetime.UTC)
    first = min(ROWS, records)
    rows = [_record(number, failed, chance, now) for number in range(first)]
    JobRecord.objects.bulk_create(rows, 1000)
    columns = [str(field.column) for field in JobRecord._meta.concrete_fields]
    quoted = ", ".join(map(connection.ops.quote_name, columns))
    with connection.cursor() as cursor:
        for copy in range(1, max(1, records // first)):
            values = ", ".join(_copied(column, copy) for column in columns)
            source = "SELECT {} FROM gearman_jobrecord WHERE id LIKE '0-%%'"
            cursor.execute(f"INSERT INTO gearman_jobrecord ({quoted}) {source.format(values)}", [])
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


def _record(number: int, failed: float, chance: random.Random, now: datetime.datetime) -> Any:
    begun = now - datetime.timedelta(seconds=chance.uniform(0, SECONDS))
    job, error = chance.randrange(40), chance.randrange(7)
    is_failed = chance.random() < failed
    status = "FAILED" if is_failed else chance.choices([*OTHERS], [*OTHERS.values()])[0]
    frame = '  File "/srv/shop/jobs.py", line {}, in step_{}\n    result = step(order, retries=3)\n'
    exception = f"shop.errors.Error{error}"
    entry = {
        "exception": exception,
        "message": f"order {number} was refused",
        "traceback": "".join(frame.format(line, line) for line in range(12)),
        "attempt": 1,
        "at": begun.isoformat(),
        "worker": "host/1",
        "seconds": 0.1,
    }
    has_ended = status in ("FAILED", "SUCCESSFUL", "CANCELLED")
    return JobRecord(
        id=f"0-{number:030x}",
        name=f"shop.job{job}",
        function=f"shop.job{job}",
        queue=f"queue{job % 10}",
        status=status,
        call=json.dumps({"args": [number], "kwargs": {"order": number, "to": "ada@example.com"}}),
        workload=b"w" * 200,
        attempts=1,
        run=1,
        worker_ids=["host/1"],
        errors=[entry] if is_failed else [],
        exception=exception if is_failed else "",
        fingerprint=f"{job:08x}{error:08x}" if is_failed else "",
        enqueued_at=begun,
        started_at=begun,
        last_attempted_at=begun,
        finished_at=begun if has_ended else None,
        expires_at=now + datetime.timedelta(days=3),
    )


def _copied(column: str, copy: int) -> str:
    """Return the value of a column in a copy of a record: another id, other times."""
    name: str = connection.ops.quote_name(column)
    if column == "id":
        return f"'{copy}-' || SUBSTR(id, 3)"
    if column in ("enqueued_at", "finished_at"):
        shift = 7 * copy
        if connection.vendor == "sqlite":
            return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', {name}, '-{shift} seconds')"
        return f"{name} - INTERVAL '{shift} seconds'"
    return name


def pages() -> dict[str, Callable[[Any], Any]]:
    """Return a function for each page, which asks a client for it."""

    def get(name: str, *args: Any, **query: str) -> Callable[[Any], Any]:
        address = reverse(f"admin:gearman_{name}", args=args)
        return lambda client: client.get(address, query)

    def ask(act: str, **fields: str) -> Callable[[Any], Any]:
        address = reverse("admin:gearman_act")
        return lambda client: client.post(address, {"act": act, **fields})

    job = JobRecord.objects.filter(status="FAILED").values_list("pk", flat=True)[0]
    kind = {"job": "shop.job3", "exception": "shop.errors.Error3"}
    group = {**kind, "fingerprint": f"{3:08x}{3:08x}"}
    return {
        "failures": get("failures"),
        "failures, one job": get("failures", job="shop.job3"),
        "failures, 24 hours": get("failures", since="24h"),
        "list": get("list"),
        "list, last page": get("list", page="200"),
        "list, one group": get("list", **group),
        "list, exception without module": get("list", exception="Error3"),
        "list, one queue": get("list", queue="queue3"),
        "list, a queue without jobs": get("list", queue="none"),
        "list, successful": get("list", status="SUCCESSFUL"),
        "list, successful, last page of a job": get(
            "list", status="SUCCESSFUL", job="shop.job3", page="200"
        ),
        "list, successful, no such job": get("list", status="SUCCESSFUL", job="none"),
        "list, ready, one queue": get("list", status="READY", queue="queue3"),
        "one job": get("job", job),
        "question, one group": ask("retry:all", **group),
        "question, all failures": ask("discard:all"),
        "schedules": get("schedules"),
        "overview": get("overview"),
        "workers": get("workers"),
        "jobs": get("jobs"),
    }


@contextmanager
def workers() -> Iterator[None]:
    """Run a `gearman_worker` with 50 processes, of which 30 are busy."""
    queues = [argument for number in range(10) for argument in ("-q", f"queue{number}:5")]
    command = [sys.executable, "manage.py", "gearman_worker", "--grace-period", "0.1", *queues]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for number in range(30):
            JOBS[number].do_background(3600)
        while sum(counts.running for counts in ask_servers().functions().values()) < 30:
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def measure(client: Any, ask: Callable[[Any], Any]) -> tuple[float, float, int]:
    """Return the least and the most milliseconds of a page, and the number of its queries."""
    took = []
    for _ in range(TIMES):
        with CaptureQueriesContext(connection) as queries:
            began = time.perf_counter()
            response = ask(client)
            took.append(1000 * (time.perf_counter() - began))
        assert response.status_code == 200, response
    return min(took), max(took), len(queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int)
    parser.add_argument("failed", type=float)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    fill(options.records, options.failed)
    print(f"{options.records:,} records in {time.perf_counter() - began:.0f} s\n")
    with workers():
        show_times()


def show_times() -> None:
    """Measure the pages, and print a line about each."""
    client = Client(headers={"host": "localhost"})
    user = User.objects.create_user("ada", is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="gearman_store")
    user.user_permissions.set(permissions)  # a superuser's cost no queries
    client.force_login(user)
    print(f"{'page':38} {'ms':>12} {'queries':>8}")
    for name, ask in pages().items():
        least, most, queries = measure(client, ask)
        print(f"{name:38} {least:5.0f}–{most:<6.0f} {queries:8}", flush=True)


if __name__ == "__main__":
    main()
