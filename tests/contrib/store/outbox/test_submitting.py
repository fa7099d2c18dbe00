"""Jobs that go through the outbox, and what their submitters see."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction

from django_gearman import JOB_CREATED, JOB_PENDING, PRIORITY_HIGH, PRIORITY_LOW, GearmanClient
from django_gearman.contrib.store.models import OutboxJob
from django_gearman.contrib.store.outbox import rows
from django_gearman.contrib.store.outbox.rows import load_servers, spec_of
from django_gearman.exceptions import SubmitUncertain
from django_gearman.protocol.names import wire_unique
from django_gearman.signals import job_submitted, submit_failed
from tests.app import gearman_jobs as jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


class Undone(Exception):
    """Rolls a transaction back."""


def test_a_job_is_a_row_until_the_transaction_commits_and_is_sent_then(gearman_client, ran):
    with transaction.atomic():
        request = jobs.note.do_background(1)

        row = OutboxJob.objects.get()
        assert (row.job_id, row.function) == (request.id, "tests.app.note")
        assert (request.state, ran) == (JOB_PENDING, [])

    assert (request.state, ran) == (JOB_CREATED, [1])
    assert not OutboxJob.objects.exists()


def test_the_tests_own_transaction_is_none_so_a_job_is_sent_at_once(
    gearman_client, ran, django_assert_num_queries
):
    with django_assert_num_queries(0):
        jobs.note.do_background(1)

    assert ran == [1]


def test_a_rolled_back_transaction_leaves_neither_row_nor_job(gearman_client, ran):
    with pytest.raises(Undone), transaction.atomic():
        jobs.note.do_background(1)
        raise Undone

    assert (ran, OutboxJob.objects.count()) == ([], 0)


def test_a_rolled_back_savepoint_takes_its_row_with_it(gearman_client, ran):
    with transaction.atomic():
        jobs.note.do_background("outer")
        with pytest.raises(Undone), transaction.atomic():
            jobs.note.do_background("inner")
            raise Undone
        assert OutboxJob.objects.count() == 1

    assert ran == ["outer"]


def test_djangos_own_capturing_of_callbacks_sees_the_same_as_without(
    django_capture_on_commit_callbacks, ran
):
    with django_capture_on_commit_callbacks(execute=True) as callbacks, transaction.atomic():
        jobs.note.do_background(1)

    assert (len(callbacks), ran) == (1, [1])
    assert not OutboxJob.objects.exists()


def test_jobs_of_one_call_are_one_insert_and_one_delete(gearman_client, ran):
    with transaction.atomic():
        with connection.execute_wrapper(counting := Counting()):
            GearmanClient().submit_multiple_jobs(
                [{"task": "tests.app.note", "data": n} for n in range(50)], background=True
            )
        assert counting.of("INSERT") == 1

    assert ran == [*range(50)]


class Counting:
    """A wrapper of queries that counts them by their first word."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, execute, sql, params, many, context):
        self.words.append(sql.split()[0])
        return execute(sql, params, many, context)

    def of(self, word: str) -> int:
        return self.words.count(word)


@pytest.mark.gearman("memory")
def test_every_property_of_a_job_is_kept(settings, gearman_client):
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]
    at = datetime.datetime(2031, 1, 2, 3, 4, 5, 678901, datetime.UTC)
    gearman_client.stub("php.resize")
    with transaction.atomic():
        requests = [
            jobs.note.using(priority=PRIORITY_HIGH).do_background(1),
            jobs.note.using(priority=PRIORITY_LOW, unique="k" * 300).do_background(2),
            jobs.note.using(run_after=at, unique="é\n").do_background(3),
            GearmanClient().using(run_after=at).submit_job("php.resize", {"w": 1}, background=True),
        ]
        kept = [*OutboxJob.objects.order_by("pk")]

    for row, request in zip(kept, requests, strict=True):
        stored, sent = spec_of(row), request.spec
        assert stored._replace(unique="") == sent._replace(unique="")
        assert wire_unique(stored) == wire_unique(sent)


def test_two_jobs_of_one_unique_may_wait_together(gearman_client, ran):
    with transaction.atomic():
        first = jobs.note.using(unique="same").do_background(1)
        second = jobs.note.using(unique="same").do_background(1)
        assert OutboxJob.objects.count() == 2

    assert {first.state, second.state} == {JOB_CREATED}


def test_middleware_runs_in_the_transaction_and_its_context_is_kept(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = ["tests.contrib.store.outbox.tracing.Tracing"]

    with transaction.atomic():
        jobs.note.do_background(1)
        assert b'"trace":"7"' in bytes(OutboxJob.objects.get().workload)


def test_on_commit_false_goes_past_the_outbox(gearman_client, ran):
    with pytest.raises(Undone), transaction.atomic():
        jobs.note.using(on_commit=False).do_background(1)
        assert not OutboxJob.objects.exists()
        raise Undone

    assert ran == [1]


def test_foreground_jobs_never_wait(gearman_client):
    with transaction.atomic():
        assert jobs.echo.do(1) == 1
        assert not OutboxJob.objects.exists()


# Outages


def test_a_job_whose_server_is_down_at_commit_stays_and_no_failure_is_reported(
    gearman_client, caplog
):
    failures: list[object] = []
    submit_failed.connect(receive := lambda **arguments: failures.append(arguments))
    try:
        with gearman_client.server_down(), transaction.atomic():
            request = jobs.note.using(on_commit_failure="raise").do_background(1)
    finally:
        submit_failed.disconnect(receive)

    assert (request.state, request.exception) == (JOB_PENDING, None)
    assert OutboxJob.objects.get().attempts == 0
    assert failures == []
    [record] = [record for record in caplog.records if "waits in the outbox" in record.message]
    assert (record.levelno, record.gearman_id) == (logging.WARNING, request.id)


def test_without_a_transaction_a_job_is_a_row_only_if_its_server_is_down(
    gearman_client, relay, ran
):
    with gearman_client.server_down():
        request = jobs.note.do_background(1)

    assert request.state == JOB_PENDING
    assert relay(due=False).sent == 1, "it is due at once"
    assert ran == [1]


def test_an_uncertain_submission_without_a_transaction_is_sent_again_with_its_id(gearman_client):
    with gearman_client.lose_connection():
        request = jobs.note.do_background(1)

    row = OutboxJob.objects.get()
    assert (request.state, row.job_id, row.unique) == (JOB_PENDING, request.id, request.unique)


def test_an_uncertain_submission_after_a_commit_is_sent_again_later(gearman_client, relay):
    with gearman_client.lose_connection(), transaction.atomic():
        jobs.note.do_background(1)

    assert relay(due=False).sent == 0, "the answer may be on its way"
    assert relay().sent == 1


def test_without_the_outbox_an_uncertain_submission_is_an_error_as_ever(settings, gearman_client):
    settings.GEARMAN_OUTBOX = False

    with gearman_client.lose_connection(), pytest.raises(SubmitUncertain):
        jobs.note.do_background(1)


def test_sent_jobs_are_reported_once(gearman_client):
    sent: list[object] = []
    job_submitted.connect(receive := lambda request, **_: sent.append(request.id))
    try:
        with transaction.atomic():
            request = jobs.note.do_background(1)
    finally:
        job_submitted.disconnect(receive)

    assert sent == [request.id]


def test_a_transaction_longer_than_the_fast_path_claims_its_rows_first(
    gearman_client, monkeypatch, ran
):
    from django_gearman.contrib.store.outbox import submitting

    with transaction.atomic():
        kept = jobs.note.do_background("kept")
        jobs.note.do_background("sent by a relay")
        OutboxJob.objects.exclude(job_id=kept.id).delete()
        monkeypatch.setattr(submitting, "_SAFE_SECONDS", -1.0)

    assert ran == ["kept"]


# Job servers of a client


def test_a_clients_own_servers_are_kept(gearman_client):
    client = GearmanClient(["job1", "[::1]:4731", {"host": "job2", "tls": {"cafile": "/ca.pem"}}])
    with transaction.atomic():
        client.submit_job(jobs.note, 1, background=True)
        row = OutboxJob.objects.get()

    assert load_servers(row.servers) == [
        ("job1", 4730),
        ("::1", 4731),
        {"host": "job2", "port": 4730, "tls": {"cafile": "/ca.pem"}},
    ]


def test_a_tls_password_is_not_written_into_the_database(gearman_client):
    tls = {"certfile": "/c.pem", "password": "secret"}
    client = GearmanClient([{"host": "job1", "tls": tls}])

    with transaction.atomic(), pytest.raises(ValueError, match="TLS password") as caught:
        client.submit_job(jobs.note, 1, background=True)

    assert "secret" not in str(caught.value)


def test_certificates_in_bytes_are_an_error(gearman_client):
    client = GearmanClient([{"host": "job1", "tls": {"cadata": b"DER"}}])

    with transaction.atomic(), pytest.raises(ValueError, match=r"cannot keep 'cadata'.*bytes"):
        client.submit_job(jobs.note, 1, background=True)


def test_paths_of_certificates_are_kept(gearman_client):
    client = GearmanClient([{"host": "job1", "tls": {"cafile": Path("/ca.pem")}}])

    with transaction.atomic():
        client.submit_job(jobs.note, 1, background=True)
        assert '"cafile": "/ca.pem"' in OutboxJob.objects.get().servers


# Settings


@pytest.mark.parametrize("value", [1, "", None, ["default"], b"default", 0.5])
def test_a_setting_of_the_wrong_type_is_an_error(settings, gearman_client, value):
    settings.GEARMAN_OUTBOX = value

    with pytest.raises(ImproperlyConfigured, match="GEARMAN_OUTBOX is True, False or"):
        jobs.note.do_background(1)


def test_the_setting_names_a_database(settings, gearman_client):
    settings.GEARMAN_OUTBOX = "nowhere"

    with pytest.raises(Exception, match="'nowhere' doesn't exist"):
        jobs.note.do_background(1)


def test_a_database_without_the_migrations_is_a_clear_error(gearman_client):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gearman_outbox RENAME TO gone")
        with pytest.raises(ImproperlyConfigured, match="migrate gearman_store --database default"):
            jobs.note.do_background(1)
        transaction.set_rollback(True)


def test_a_database_that_routers_keep_free_of_the_table_is_named_with_them(
    gearman_client, settings
):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gearman_outbox RENAME TO gone")
        settings.DATABASE_ROUTERS = ["tests.contrib.store.outbox.routing.Nowhere"]
        with pytest.raises(
            ImproperlyConfigured, match="ROUTERS keep the app gearman_store out of it"
        ):
            jobs.note.do_background(1)
        transaction.set_rollback(True)


def test_another_error_of_the_database_is_the_callers(gearman_client, monkeypatch):
    def fail(*args, **kwargs):
        raise DatabaseError("disk full")

    monkeypatch.setattr(rows, "_insert", fail)

    with pytest.raises(DatabaseError, match="disk full"), transaction.atomic():
        jobs.note.do_background(1)
