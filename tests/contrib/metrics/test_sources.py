"""Questions of a scrape to the job servers and the store, also while they are down."""

from __future__ import annotations

import datetime
import logging
import threading
import time

import pytest
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from django_gearman.contrib.metrics import collector, sources
from django_gearman.contrib.metrics.folding import MOST_UNKNOWN
from django_gearman.contrib.metrics.patience import Look
from django_gearman.contrib.metrics.sources import Sources
from django_gearman.contrib.store.counters import gearman_store_errors_total
from django_gearman.contrib.store.models import OutboxJob, Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.jobs import counting
from django_gearman.testing.gearmand import free_port
from django_gearman.utils.clock import monotonic
from tests.contrib.dashboard.servers import answering, hanging
from tests.contrib.gearman_jobs import double

VERSION = {b"version": b"OK 1.1.20\r\n"}


def rows(patience: float = 20.0, asked: Sources | None = None) -> dict[tuple[str, ...], float]:
    """Ask once; return the values by the name and the values of the labels."""
    asked = asked or Sources()
    asked.begin()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in asked.metrics(monotonic() + patience)
        for sample in metric.samples
    }


@pytest.fixture
def no_store(monkeypatch) -> None:
    monkeypatch.setattr(sources, "STORE", "not.installed")


@pytest.mark.gearmand
def test_jobs_of_a_server_by_function_state_and_priority(use, own_gearmand, db):
    use(own_gearmand.address)
    for priority in ("HIGH", None, None, "LOW"):
        double.using(priority=priority).do_background(1)
    double.using(run_after=datetime.timedelta(hours=1)).do_background(1)

    found = rows()

    here, name = own_gearmand.address, "tests.contrib.double"
    assert found["gearman_server_up", here] == 1
    jobs = "gearman_queue_jobs", here, name
    numbers = {key[3:]: value for key, value in found.items() if key[:3] == jobs}
    assert numbers == {
        ("queued", "high"): 1,
        ("queued", "normal"): 2,
        ("queued", "low"): 1,
        ("delayed", ""): 1,
        ("running", ""): 0,
    }
    assert found["gearman_queue_workers", here, name] == 0


def test_servers_that_hang_or_are_down_cost_a_second_and_are_named(use, no_store):
    down = f"127.0.0.1:{free_port()}"
    with hanging() as silent, answering({b"status": b"f\t5\t1\t3\n.\n", **VERSION}) as good:
        use(silent.address, down, good.address)
        began = time.monotonic()

        found = rows(5 * sources.PATIENCE)

        took = time.monotonic() - began
    up = {key[1]: value for key, value in found.items() if key[0] == "gearman_server_up"}
    assert up == {silent.address: 0, down: 0, good.address: 1}
    assert found["gearman_queue_jobs", good.address, "f", "queued", "normal"] == 4
    assert took < 20, "five seconds, on a machine that is not busy"


def test_unknown_functions_above_a_number_are_one(use, no_store):
    lines = [b"theirs.%d\t1\t0\t0\n" % number for number in range(MOST_UNKNOWN + 50)]
    status = b"".join([*lines, b"tests.contrib.double\t1\t0\t2\n.\n"])
    with answering({b"status": status, **VERSION}) as server:
        use(server.address)
        asked = Sources()

        found, again = rows(asked=asked), rows(asked=asked)

    functions = {key[2] for key in found if key[0] == "gearman_queue_workers"}
    assert len(functions) == MOST_UNKNOWN + 2
    here = server.address
    assert found["gearman_queue_jobs", here, "other", "queued", "normal"] == 50
    assert found["gearman_queue_workers", here, "tests.contrib.double"] == 2
    assert again == found, "the same names at each scrape"


def test_names_of_functions_are_anybodys_bytes_and_name_no_host(use, no_store):
    lines = b'a"b\\c\t1\t0\t0\n\xff\t2\t0\t0\ndjango_gearman.control:here:77\t0\t0\t1\n.\n'
    registry = CollectorRegistry()
    with answering({b"status": lines, **VERSION}) as server:
        use(server.address)
        registry.register(collector())

        text = generate_latest(registry).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    functions = [each.labels["function"] for each in families["gearman_queue_workers"].samples]
    assert functions == ['a"b\\c', "\ufffd"]


@pytest.mark.django_db
@pytest.mark.gearman("eager")
def test_there_is_no_server_where_jobs_do_not_leave_the_process(gearman_client):
    assert not [key for key in rows() if key[0].startswith(("gearman_server", "gearman_queue"))]


@pytest.mark.django_db(transaction=True)
def test_the_outbox_and_the_schedules_of_the_store(settings):
    settings.GEARMAN_SCHEDULE = {
        "nightly": {"job": "tests.contrib.double", "cron": "0 3 * * *", "args": [1]},
        "never ran": {"job": "tests.contrib.double", "every": 30, "args": [1]},
    }
    due = datetime.datetime(2026, 11, 29, 3, tzinfo=datetime.UTC)
    key = next(each.key for each in schedules() if each.name == "nightly")
    Tick.objects.create(schedule=key, due_at=due, job_id="a" * 32)
    now = timezone.now()
    for number, next_try in enumerate((now, now, None)):
        OutboxJob.objects.create(
            unique=f"u{number}",
            job_id=f"{number:032}",
            function="f",
            workload=b"",
            next_try_at=next_try,
        )

    found = rows()

    assert found["gearman_outbox_rows", "waiting"] == 2
    assert found["gearman_outbox_rows", "stuck"] == 1
    assert 0 <= found["gearman_outbox_oldest_seconds",] < 120
    ticks = {key[1]: value for key, value in found.items() if "tick" in key[0]}
    assert ticks == {"nightly": due.timestamp()}


def test_a_store_that_hangs_or_fails_is_left_out_and_logged_once(monkeypatch, caplog):
    asked = Sources()
    go_on = threading.Event()
    calls = []

    def hang() -> list:
        calls.append(1)
        go_on.wait(60)
        raise OperationalError("the server closed the connection")

    asked._store = Look(hang)
    with caplog.at_level(logging.WARNING, "django_gearman"):
        first, second = rows(0.05, asked), rows(0.05, asked)
        go_on.set()
        third, fourth = rows(60, asked), rows(60, asked)

    assert first == second == third == fourth
    assert not any("outbox" in key[0] for key in first)
    assert [record.message for record in caplog.records] == [
        "the metrics of the store are left out: no answer within 1 s",
        "the metrics of the store are left out: the server closed the connection",
    ]
    assert len(calls) <= 3, "no second look while the first one hangs"


# The collector of a web process


@pytest.mark.django_db(transaction=True)
@pytest.mark.gearman("eager")
def test_a_collector_counts_submissions_and_shows_the_store(gearman_client, counted):
    counting.install_counter(None)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector())
    before = gearman_store_errors_total.value
    for _ in range(2):
        double.do_background(1)
    gearman_store_errors_total.add()

    text = generate_latest(registry).decode()

    assert 'gearman_jobs_submitted_total{job="tests.contrib.double"} 2.0' in text
    assert f"gearman_store_errors_total {before + 1}.0" in text
    assert 'gearman_outbox_rows{state="waiting"} 0.0' in text
