"""Jobs submitted on commit, in tests whose own transaction never commits."""

from __future__ import annotations

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from django_gearman import JOB_CREATED, JOB_PENDING, JobRequest, gearman_job
from django_gearman.testing import GearmanTestMixin
from django_gearman.testing.harness import Harness, in_force
from tests.app import gearman_jobs as jobs


class Undo(Exception):
    pass


def note_on_commit(value: object) -> JobRequest:
    return jobs.note.using(on_commit=True).do_background(value)


@pytest.fixture(params=["django_db", "django_db(transaction=True)"])
def db_of_either_kind(request):
    request.getfixturevalue("db" if request.param == "django_db" else "transactional_db")


def test_a_job_goes_out_when_its_block_commits(db_of_either_kind, gearman_client, ran):
    with transaction.atomic():
        request = note_on_commit(1)
        assert (request.state, ran, gearman_client.submitted) == (JOB_PENDING, [], [])

    assert ran == [1], "before anybody has looked"
    assert request.state == JOB_CREATED
    gearman_client.assert_submitted(jobs.note, 1, times=1)


def test_a_job_of_a_block_that_rolls_back_is_never_submitted(
    db_of_either_kind, gearman_client, ran
):
    with pytest.raises(Undo), transaction.atomic():
        note_on_commit(1)
        raise Undo

    gearman_client.assert_nothing_submitted()
    assert ran == []


def test_of_nested_blocks_only_what_stands_goes_out(db_of_either_kind, gearman_client, ran):
    with transaction.atomic():
        note_on_commit("outer")
        with pytest.raises(Undo), transaction.atomic():
            note_on_commit("undone")
            with transaction.atomic():
                note_on_commit("undone with it")
            raise Undo
        with transaction.atomic():
            note_on_commit("inner")
        assert ran == [], "the outermost block has not ended"

    assert ran == ["outer", "inner"]


def test_an_outer_block_that_rolls_back_takes_the_inner_ones_with_it(
    db_of_either_kind, gearman_client, ran
):
    with pytest.raises(Undo), transaction.atomic():
        with transaction.atomic():
            note_on_commit("inner")
        raise Undo

    gearman_client.assert_nothing_submitted()
    assert ran == []


def test_outside_of_any_block_a_job_goes_out_at_once(db_of_either_kind, gearman_client, ran):
    note_on_commit(1)

    assert ran == [1]


def test_a_test_without_a_database_needs_none(gearman_client, ran):
    note_on_commit(1)

    assert ran == [1]


def test_a_block_without_a_savepoint_is_seen_when_the_test_looks(db, gearman_client, ran):
    with transaction.atomic(savepoint=False):
        note_on_commit(1)

    gearman_client.assert_submitted(jobs.note, 1)
    assert ran == [1]


def test_a_block_without_a_savepoint_is_seen_by_the_next_query(db, gearman_client, ran):
    with transaction.atomic(savepoint=False):
        note_on_commit(1)
        ContentType.objects.count()
        assert ran == []

    ContentType.objects.count()

    assert ran == [1]


def test_a_block_that_waits_for_its_rollback_sends_nothing(db, gearman_client):
    with transaction.atomic():
        with pytest.raises(Undo), transaction.atomic(savepoint=False):
            note_on_commit(1)
            raise Undo
        gearman_client.assert_nothing_submitted()
        transaction.set_rollback(True)

    gearman_client.assert_nothing_submitted()


def test_blocks_one_after_another_keep_their_order(db, gearman_client, ran):
    for number in range(3):
        with transaction.atomic(savepoint=number != 1):
            note_on_commit(number)
    jobs.note.do_background("last")

    assert ran == [0, 1, 2, "last"]


def test_a_job_may_use_transactions_itself(db, gearman_client, ran):
    @gearman_job(name="transactional")
    def transactional():
        with transaction.atomic():
            note_on_commit("by the job")
        return "done"

    with transaction.atomic():
        transactional.using(on_commit=True).do_background()

    assert ran == ["by the job"]
    assert [job.name for job in gearman_client.submitted] == ["transactional", "tests.app.note"]


def test_a_failure_reaches_the_test_where_the_block_ends(db, gearman_client):
    with pytest.raises(ValueError, match="boom"), transaction.atomic():
        jobs.fail.using(on_commit=True).do_background("boom")

    with transaction.atomic():  # the connection is sound
        assert jobs.add.do(1) == 11


def test_a_database_error_of_a_job_is_the_jobs_own(db, gearman_client, ran):
    @gearman_job(name="twice")
    def twice():
        with transaction.atomic():
            for _ in range(2):
                ContentType.objects.create(app_label="same", model="same")

    with pytest.raises(IntegrityError), transaction.atomic():
        twice.using(on_commit=True).do_background()
        note_on_commit("after it")

    with transaction.atomic():
        ContentType.objects.create(app_label="another", model="one")
        note_on_commit("later")
    assert ran == ["after it", "later"]


@pytest.mark.gearman("memory")
def test_jobs_are_queued_on_commit(db, gearman_worker, ran):
    with transaction.atomic():
        note_on_commit(1)
        assert gearman_worker.run() == 0

    assert gearman_worker.run() == 1


def test_djangos_own_capture_runs_nothing_twice(
    db, gearman_client, ran, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        note_on_commit(1)

    assert ran == [1]


def test_the_queries_of_a_test_are_left_alone(db, gearman_client):
    def wrapper(execute, *rest):
        return execute(*rest)

    with connection.execute_wrapper(wrapper):
        with transaction.atomic():
            note_on_commit(1)
        assert wrapper in connection.execute_wrappers
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        connection.cursor().execute("SELECT 1")

    assert wrapper not in connection.execute_wrappers
    assert len(queries) == 3


def test_nothing_is_left_on_the_connection(db, production):
    before = list(connection.execute_wrappers)
    harness = Harness()
    with in_force(harness), harness.using("eager"):
        with transaction.atomic():
            note_on_commit(1)
        assert connection.execute_wrappers != before

    assert connection.execute_wrappers == before


class PlainTestCase(GearmanTestMixin, TestCase):
    def test_commit_and_rollback(self):
        with transaction.atomic():
            note_on_commit("kept")
            with pytest.raises(Undo), transaction.atomic():
                note_on_commit("undone")
                raise Undo

        self.assertEqual([job.args for job in self.submitted], [["kept"]])


class RealTransactions(GearmanTestMixin, TransactionTestCase):
    def test_commit_and_rollback(self):
        with transaction.atomic():
            note_on_commit("kept")
            with pytest.raises(Undo), transaction.atomic():
                note_on_commit("undone")
                raise Undo
            self.assert_nothing_submitted()

        self.assertEqual([job.args for job in self.submitted], [["kept"]])
