"""The relay: it sends what an outage or a crash has left, and no row blocks another one."""

from __future__ import annotations

import datetime

import pytest
from django.db import transaction
from django.utils import timezone

from django_gearman.contrib.store.models import OutboxJob
from django_gearman.contrib.store.outbox import refusals
from django_gearman.contrib.store.outbox.refusals import release
from django_gearman.contrib.store.outbox.relay import Relay
from django_gearman.contrib.store.outbox.rows import BATCH, MOST_ATTEMPTS
from django_gearman.signals import job_submitted, submit_failed
from tests.app import gearman_jobs as jobs

from .refusing import BREAKING, CUTTING, REFUSED, RefusingBackend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

MOMENT = datetime.timedelta(seconds=0.1)  # by which two clocks may differ


def test_jobs_of_an_outage_are_sent_afterwards(queue, relay, gearman_client, ran):
    queue(1, 2, 3)

    report = relay()

    assert (report.sent, report.refused, report.unreachable) == (3, 0, {})
    assert ran == [1, 2, 3]
    assert not OutboxJob.objects.exists()


def test_a_young_row_is_left_to_the_process_that_wrote_it(relay, ran):
    OutboxJob.objects.create(job_id="1", unique="1", function="tests.app.note", workload=b"1")

    assert relay(due=False).sent == 0


def test_an_outage_counts_no_attempt(queue, relay, gearman_client):
    queue(1)
    with gearman_client.server_down():
        report = relay()

    assert [*report.unreachable] == [""]
    assert OutboxJob.objects.get().attempts == 0


def test_a_sent_row_is_reported_like_any_submission(queue, relay, gearman_client):
    queue(1)
    [job_id] = OutboxJob.objects.values_list("job_id", flat=True)
    told: list[tuple[object, ...]] = []
    receive = lambda sender, request, **_: told.append((sender, request.id, request.job.task))  # noqa: E731
    job_submitted.connect(receive)
    try:
        relay()
    finally:
        job_submitted.disconnect(receive)

    assert told == [(jobs.note, job_id, "tests.app.note")]


def test_the_test_sees_the_jobs_that_a_relay_has_sent(queue, relay, gearman_client):
    queue("late")

    relay()

    [job] = gearman_client.submitted
    assert (job.name, job.args, job.finished) == ("tests.app.note", ["late"], True)


def test_all_batches_are_sent_in_one_sweep(relay, refusing):
    rows(*range(2 * BATCH + 1))

    assert relay().sent == 2 * BATCH + 1
    assert RefusingBackend.sizes == [BATCH, BATCH, 1]


# Rows that cannot be sent


@pytest.fixture
def refusing(settings, request):
    """Use a transport that refuses some jobs."""
    settings.GEARMAN_BACKEND = f"{RefusingBackend.__module__}.RefusingBackend"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    RefusingBackend.sizes.clear()


@pytest.fixture
def once(monkeypatch):
    """Let a sweep end before a refused row is due again, however long the sweep takes."""
    monkeypatch.setattr(refusals, "_FIRST_SECONDS", 1000.0)


def rows(*workloads: object, **fields: object) -> list[int]:
    """Insert rows, and return their keys."""
    made = [
        OutboxJob(
            **{
                "job_id": f"{n:032x}",
                "unique": f"{n:032x}",
                "function": "tests.app.note",
                "workload": each if isinstance(each, bytes) else f"{each}".encode(),
                **fields,
            }
        )
        for n, each in enumerate(workloads)
    ]
    OutboxJob.objects.bulk_create(made)
    return [row.pk for row in made]


@pytest.mark.parametrize(
    "poison", [REFUSED, CUTTING, BREAKING], ids=["refused", "cuts off", "breaks"]
)
def test_a_poisoned_row_at_the_head_of_a_thousand_blocks_none(refusing, once, relay, poison):
    first, *_ = rows(poison, *range(999))

    report = relay()

    assert (report.sent, report.refused) == (999, 1)
    row = OutboxJob.objects.get()
    assert (row.pk, row.attempts) == (first, 1)
    assert row.last_error.startswith(
        {REFUSED: "ServerError: ", CUTTING: "SubmitUncertain: ", BREAKING: "MemoryError: "}[poison]
    )
    assert len(RefusingBackend.sizes) < 60, "the batches grow again"


def test_several_poisoned_rows_of_all_kinds_are_each_counted_once(refusing, once, relay):
    rows(*range(100), CUTTING, *range(50), REFUSED, BREAKING, *range(50), CUTTING)

    assert (relay().sent, OutboxJob.objects.count()) == (200, 4)
    assert {*OutboxJob.objects.values_list("attempts", flat=True)} == {1}


def test_a_row_is_tried_ever_more_rarely_and_is_stuck_in_the_end(refusing, relay, caplog):
    rows(REFUSED)
    failures: list[object] = []
    submit_failed.connect(receive := lambda sender, request, **_: failures.append(request.id))
    delays = [5, 10, 20, 40, 80, 160, 320, 640, 1280]
    try:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            before = timezone.now()
            report = relay()
            row = OutboxJob.objects.get()
            assert (row.attempts, report.stuck) == (attempt, attempt == MOST_ATTEMPTS)
            if row.next_try_at is not None:
                due = row.next_try_at - datetime.timedelta(seconds=delays.pop(0))
                assert before - MOMENT <= due <= timezone.now() + MOMENT
    finally:
        submit_failed.disconnect(receive)

    assert delays == []
    assert failures == [row.job_id], "when it is stuck, and not before"
    assert "is stuck in the outbox" in caplog.text
    assert relay().refused == 0, "it is not tried again by itself"


def test_a_stuck_row_is_sent_after_a_retry(refusing, relay):
    rows(REFUSED, next_try_at=None, attempts=10)

    assert release("default") == 1

    assert relay(due=False).refused == 1
    assert OutboxJob.objects.get().attempts == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": 7},
        {"function": ""},
        {"function": "a\0b"},
        {"function": "f" * 600},
        {"run_at": float("inf")},
    ],
    ids=str,
)
def test_a_row_that_was_changed_to_nonsense_blocks_no_other(refusing, relay, fields):
    rows(1, **fields)
    rows(2, 3)

    report = relay()

    assert report.sent >= 2
    assert report.sent + report.refused == 3


def test_a_workload_that_no_job_can_read_is_sent_all_the_same(refusing, relay):
    rows(b"\xff\xfe")

    assert relay().sent == 1


def test_servers_that_are_down_hold_up_their_own_jobs_only(
    settings, relay, gearman_client, monkeypatch, ran
):
    from django_gearman.contrib.store.outbox import relay as module

    def reach(servers: str):
        if servers:
            raise module.ServerUnavailable(f"{servers} is down")
        return real(servers)

    real = module._reach
    monkeypatch.setattr(module, "_reach", reach)
    rows(*range(3), servers='[["down1", 4730]]')
    rows(*range(3), servers='[["down2", 4730]]')
    rows(7)

    report = relay()

    assert (report.sent, ran) == (1, [7])
    assert len(report.unreachable) == 2
    assert OutboxJob.objects.count() == 6


@pytest.mark.parametrize("servers", ["no JSON", "[]", "7", '[["host", "port"]]'])
def test_nonsense_in_place_of_servers_holds_up_no_other_row(relay, gearman_client, servers, ran):
    rows(1, servers=servers)
    rows(2)

    report = relay()

    assert (report.sent, ran, [*report.unreachable]) == (1, [2], [servers])


def test_jobs_run_outside_of_the_relays_transaction(relay, gearman_client, queue):
    seen: list[bool] = []
    queue(1)
    job_submitted.connect(
        receive := lambda **_: seen.append(transaction.get_connection().in_atomic_block)
    )
    try:
        relay()
    finally:
        job_submitted.disconnect(receive)

    assert Relay("default").sweep().sent == 0
    assert seen == [True]


def test_a_delayed_job_is_due_at_its_own_time(queue, relay, gearman_client, gearman_worker, ran):
    at = datetime.timedelta(minutes=5)
    queue(1, job=jobs.note.using(run_after=at))

    assert (relay().sent, ran) == (1, [])
    gearman_worker.advance(minutes=5)
    assert ran == [1]
