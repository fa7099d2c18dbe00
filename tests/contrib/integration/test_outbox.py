"""The outbox with real databases, a real gearmand, and processes that are killed."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand import GearmandBackend
from django_gearman.protocol.address import ServerAddress
from tests.contrib.integration.conftest import new_database
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

MARK = "tests.contrib.integration.mark"
only = pytest.mark.parametrize("vendor", ["postgresql"])


def queued(gearmand) -> int:
    return gearmand.totals().get(MARK, (0, 0, 0))[0]


def test_an_outage_loses_no_committed_job_and_adds_no_rolled_back_one(
    project, database, own_gearmand
):
    own_gearmand.kill()
    project.python("""
        for n in range(1000):
            try:
                with transaction.atomic():
                    mark.do_background(n)
                    if n % 2:
                        raise Undone
            except Undone:
                pass
    """)
    assert database.count() == 500

    own_gearmand.start()
    worker = project.worker("-w", "2")

    wait_until(lambda: len(project.lines()) >= 500, "the jobs")
    wait_until(lambda: database.count() == 0, "the rows are deleted")
    assert sorted(map(int, project.lines())) == [*range(0, 1000, 2)]
    assert project.stop(worker) == 0
    assert "the outbox sent 500 jobs later" in project.output(worker)


def test_a_process_killed_between_commit_and_submission_loses_no_job(project, database):
    project.python("""
        from django_gearman.client import delivery

        def die(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)

        for n in range(50):
            if not (child := os.fork()):
                delivery._send_once = die
                with transaction.atomic():
                    mark.do_background(n)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.WTERMSIG(status) == signal.SIGKILL, status
    """)
    assert (database.count(), project.lines()) == (50, [])

    worker = project.worker()

    wait_until(lambda: len(project.lines()) >= 50, "the jobs")
    wait_until(lambda: database.count() == 0, "the rows are deleted")
    assert sorted(map(int, project.lines())) == [*range(50)]
    assert project.stop(worker) == 0


def test_a_relay_killed_between_acknowledgement_and_delete_doubles_no_waiting_job(
    project, database, own_gearmand
):
    fill(project, 5000)
    project.python(
        """
        from django_gearman.contrib.store.outbox import relay
        delete, calls = relay.delete_rows, []

        def die_in_third_batch(keys, alias):
            calls.append(keys)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            delete(keys, alias)

        relay.delete_rows = die_in_third_batch
        relay.Relay("default").sweep()
    """,
        code=-signal.SIGKILL,
    )
    assert (database.count(), queued(own_gearmand)) == (4000, 1500)

    assert "4000 sent" in project.manage("gearman_outbox", "--once")

    assert (database.count(), queued(own_gearmand)) == (0, 5000)


def fill(project, number: int) -> None:
    """Write rows that are due."""
    project.python(f"""
        from django_gearman.contrib.store.functions import DatabaseTime
        from django_gearman.client import delivery
        delivery._send_once = lambda *_: (_ for _ in ()).throw(delivery.ServerUnavailable("down"))
        with transaction.atomic():
            GearmanClient().submit_multiple_jobs(
                [{{"task": mark, "data": n}} for n in range({number})], background=True
            )
        OutboxJob.objects.update(next_try_at=DatabaseTime(-1))
        os._exit(0)
    """)


def test_several_relays_at_once_send_each_row_once(project, database, own_gearmand):
    fill(project, 3000)

    relays = [
        project.start(sys.executable, "manage.py", "gearman_outbox", "--once", "--json")
        for _ in range(3)
    ]

    codes = [relay.wait(120) for relay in relays]
    assert codes == [0, 0, 0], "".join(map(project.output, relays))
    sent = [json.loads(project.output(relay).splitlines()[-1])["sent"] for relay in relays]
    assert sum(sent) == 3000, sent
    assert (database.count(), queued(own_gearmand)) == (0, 3000)


def test_rows_of_a_full_queue_at_the_head_block_no_other_one(project, database, own_gearmand):
    backend = GearmandBackend([ServerAddress("127.0.0.1", own_gearmand.port)])
    backend.submit([JobSpec("full", b"1", "first", background=True)])
    backend.close()
    own_gearmand.ask("maxqueue full 1")
    fill(project, 1000)
    database.query(
        "UPDATE gearman_outbox SET function = 'full' WHERE id IN "
        "(SELECT * FROM (SELECT MIN(id) FROM gearman_outbox) AS head)"
    )
    begun = time.monotonic()

    report = json.loads(project.manage("gearman_outbox", "--once", "--json").splitlines()[-1])

    assert report == {"sent": 999, "refused": 1, "stuck": 0}
    assert time.monotonic() - begun < 15
    assert queued(own_gearmand) == 999
    [(error, attempts)] = database.query("SELECT last_error, attempts FROM gearman_outbox")
    assert attempts == 1
    assert "QUEUE" in error.upper()


@only
def test_a_transaction_that_commits_last_is_not_skipped(project, database, own_gearmand):
    project.python("""
        first, second = connections["default"].copy(), connections["default"].copy()
        insert = (
            "INSERT INTO gearman_outbox (job_id, function, \\"unique\\", workload, priority, "
            "external, servers, attempts, last_error, next_try_at) "
            "VALUES (%s, %s, %s, '1', 0, false, '', 0, '', now() - interval '1 second')"
        )
        for number, each in enumerate((first, second)):
            each.set_autocommit(False)
            with each.cursor() as cursor:
                cursor.execute(insert, [str(number), mark.name, str(number)])
        from django_gearman.contrib.store.outbox.relay import Relay
        second.commit()
        assert Relay("default").sweep().sent == 1
        first.commit()
        assert Relay("default").sweep().sent == 1
    """)

    assert (database.count(), queued(own_gearmand)) == (0, 2)


@only
def test_each_database_has_its_own_outbox(
    project, database, own_gearmand, request, tmp_path, django_db_blocker
):
    other = new_database("sqlite", request, tmp_path, django_db_blocker)
    project.set(
        TEST_DATABASES=json.dumps({"default": database.config, "other": other.config}),
        TEST_OUTBOX='"other"',
    )
    own_gearmand.kill()
    project.python("""
        with transaction.atomic("other"), transaction.atomic():
            mark.do_background("as the setting says")
            mark.using(on_commit="default").do_background("as the caller says")
        try:
            with transaction.atomic("other"):
                mark.do_background("rolled back")
                raise Undone
        except Undone:
            pass
    """)
    assert (database.count(), other.count()) == (1, 1)
    own_gearmand.start()

    assert "2 sent" in project.manage("gearman_outbox", "--once")

    assert queued(own_gearmand) == 2


def test_rows_are_deleted_in_batches_after_the_commits(project, database, own_gearmand):
    project.python("""
        for n in range(200):
            with transaction.atomic():
                mark.do_background(n)
        left = OutboxJob.objects.count()
        deadline = time.monotonic() + 10
        while OutboxJob.objects.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not OutboxJob.objects.exists()
    """)

    assert queued(own_gearmand) == 200


def test_rows_are_deleted_before_a_process_ends(project, database, own_gearmand):
    project.python("""
        with transaction.atomic():
            mark.do_background(1)
    """)

    assert (database.count(), queued(own_gearmand)) == (0, 1)


def test_a_command_of_its_own_relays_until_it_is_stopped(project, database, own_gearmand):
    relay = project.start(sys.executable, "manage.py", "gearman_outbox")
    fill(project, 10)

    wait_until(lambda: queued(own_gearmand) == 10, "the jobs")

    assert project.stop(relay) == 0
    assert "the outbox sent 10 jobs later" in project.output(relay)


@only
def test_a_database_that_restarts_stops_neither_the_workers_nor_the_relay(
    project, database, own_gearmand
):
    worker = project.worker()
    wait_until(lambda: "ready" in project.output(worker), "the worker")
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    fill(project, 10)

    wait_until(lambda: len(project.lines()) == 10, "the jobs")

    assert project.stop(worker) == 0


@only
def test_a_transaction_without_djangos_autocommit_leaves_its_jobs_to_a_relay(
    project, database, own_gearmand
):
    project.python("""
        transaction.set_autocommit(False)
        request = mark.do_background("rolled back")
        transaction.rollback()
        request = mark.do_background("committed")
        transaction.commit()
        assert request.state == "PENDING", request.state
    """)
    assert database.count() == 1

    worker = project.worker()

    wait_until(project.lines, "the job")
    assert project.stop(worker) == 0
    assert project.lines() == ["committed"]
