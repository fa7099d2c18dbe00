"""A test that asks for nothing: its jobs run here, and no real server is reached."""

from __future__ import annotations

import pytest

from tests.support.project import SETTINGS, run

# No test reaches a real server unless it asks


PLAIN = """
from django_gearman import GearmanClient, GearmanWorker

def test_jobs_run_here(settings):
    assert settings.GEARMAN_BACKEND == "eager"
    assert add.do(1) == 11
    assert GearmanClient(["production.invalid"]).submit_job("shop.add", 1).result == 11

@pytest.mark.parametrize("use", [
    lambda: add.do(1),
    lambda: add.do_background(1),
    lambda: GearmanClient(["production.invalid"]).submit_job("shop.add", 1),
    lambda: GearmanClient().get_job_status("127.0.0.1:4730//H:x:1"),
    lambda: GearmanWorker(clean_connections=False).work(burst=True),
])
def test_asking_is_explained(settings, use):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(AssertionError, match="gearman_server.*mark.gearman.*--gearman=real"):
        use()

def test_a_command_is_reported_too(settings, capsys):
    from django.core.management import CommandError, call_command
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match="gearman_server"):
        call_command("gearman_status")

def test_a_failure_is_not_raised_where_nobody_asked_for_it(caplog):
    assert GearmanClient().submit_job("shop.fail", "boom").state == "FAILED"
"""


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "GEARMAN_BACKEND = 'gearman'\nGEARMAN_OPTIONS = {'connect_timeout': 1}",
        "GEARMAN_BACKEND = 'python-gearman'",
        "GEARMAN_BACKEND = 'eager'",
        "GEARMAN_BACKEND = 'django_gearman.backends.gearmand.GearmandBackend'",
    ],
)
def test_no_test_reaches_a_real_server_unless_it_asks(project, lines):
    project.makepyfile(settings=SETTINGS + lines)

    result = run(project, PLAIN)

    result.assert_outcomes(passed=8)


def test_memory_in_the_settings_stays(project):
    project.makepyfile(settings=SETTINGS + "GEARMAN_BACKEND = 'memory'")

    result = run(
        project,
        """
def test_memory(settings, gearman_worker):
    assert settings.GEARMAN_BACKEND == "memory"
    send.do_background("ada")
    assert RAN == []
    assert gearman_worker.run() == 1

def test_a_plain_test_queues():
    send.do_background("bob")
    assert RAN == ["ada"]

def test_the_next_one_has_an_empty_queue():
    from django_gearman import GearmanWorker
    assert GearmanWorker(clean_connections=False).work(burst=True) == 0

def test_the_client_runs_jobs_at_once_whatever_the_settings_say(gearman_client):
    assert add.do(1) == 11
""",
    )

    result.assert_outcomes(passed=4)


def test_a_broken_setting_is_reported_by_those_who_use_it(project):
    project.makepyfile(settings=SETTINGS + "GEARMAN_BACKEND = 'gearmann'")

    result = run(
        project,
        """
def test_without_jobs():
    pass

def test_with_jobs():
    from django_gearman.exceptions import InvalidBackend
    with pytest.raises(InvalidBackend, match="gearmann"):
        add.do(1)
""",
    )

    result.assert_outcomes(passed=2)


# What a test that asks for nothing is promised


def test_jobs_wait_for_their_transaction_whether_or_not_a_test_asks(project):
    result = run(
        project,
        """
from django.db import transaction
from django.test import TestCase

def submit():
    RAN.clear()
    with transaction.atomic():
        send.using(on_commit=True).do_background("ada")
        with pytest.raises(KeyError), transaction.atomic():
            send.using(on_commit=True).do_background("bob")
            raise KeyError
    assert RAN == ["ada"]

def test_function(db):
    submit()

class PlainCase(TestCase):
    def test_method(self):
        submit()

def test_djangos_own_way(db, django_capture_on_commit_callbacks):
    RAN.clear()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        send.using(on_commit=True).do_background("ada")
        assert RAN == []
    assert (len(callbacks), RAN) == (1, ["ada"])
""",
    )

    result.assert_outcomes(passed=3)


def test_a_client_that_would_wait_forever_fails_in_any_test(project):
    project.makepyfile(settings=SETTINGS + "GEARMAN_BACKEND = 'memory'")

    result = run(
        project,
        """
import threading
from django_gearman import GearmanClient, GearmanWorker

def test_plain():
    with pytest.raises(AssertionError, match="no worker of this test"):
        add.do(1)
    assert GearmanClient().submit_job("shop.add", 1, poll_timeout=1.5).timed_out

def test_served():
    worker = GearmanWorker(clean_connections=False)
    thread = threading.Thread(target=worker.work)
    thread.start()
    assert add.do(1) == 11
    worker.stop()
    thread.join()
""",
    )

    result.assert_outcomes(passed=2)


def test_submissions_before_a_test_asks_are_recorded_too(project):
    result = run(
        project,
        """
from django_gearman.testing import capture_jobs

def test_late(request):
    send.do_background("ada")
    request.getfixturevalue("gearman_client").assert_submitted(send, "ada", times=1)

def test_memory(settings):
    settings.GEARMAN_BACKEND = "memory"
    send.do_background("ada")
    with capture_jobs() as captured:
        send.do_background("bob")
    assert len(captured) == 1
    from django_gearman import GearmanWorker
    assert GearmanWorker(clean_connections=False).work(burst=True) == 2
""",
    )

    result.assert_outcomes(passed=2)


def test_an_option_starts_no_server_for_tests_without_jobs(project, monkeypatch):
    monkeypatch.setenv("GEARMAND", "/no/gearmand")

    result = run(
        project,
        "def test_nothing():\n    pass\n\ndef test_jobs():\n    add.do(1)\n",
        "--gearman=real",
    )

    result.assert_outcomes(passed=1, failed=1)


def test_a_worker_command_that_may_not_reach_its_server_says_so(project):
    result = run(
        project,
        """
def test_it(settings):
    from django.core.management import CommandError, call_command
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match="gearman_server"):
        call_command("gearman_worker")
""",
    )

    result.assert_outcomes(passed=1)


def test_strict_tests_know_the_time(project):
    result = run(
        project,
        """
from datetime import timedelta
from django_gearman import RetryJob, gearman_job

@gearman_job
def again():
    raise RetryJob(delay=60)

@pytest.mark.gearman("memory", strict=True)
def test_due_and_left(gearman_worker):
    send.using(run_after=timedelta(hours=1)).do_background("ada")
    gearman_worker.advance(hours=2)

@pytest.mark.gearman("memory", strict=True)
def test_not_due(gearman_worker):
    send.using(run_after=timedelta(hours=1)).do_background("ada")
    gearman_worker.advance(minutes=30)
    again.do_background()
    assert gearman_worker.run() == 1
""",
    )

    result.assert_outcomes(passed=1, failed=1)


def test_markers_are_for_test_cases_with_the_mixin_too(project):
    result = run(
        project,
        """
from django.test import SimpleTestCase
from django_gearman.testing import GearmanTestMixin

@pytest.mark.gearman("memory")
class MarkedTests(GearmanTestMixin, SimpleTestCase):
    def test_queued(self):
        send.do_background("ada")
        assert RAN == []
        assert self.gearman_worker.run() == 1

class UnmarkedTests(GearmanTestMixin, SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.result = add.do(1)

    def test_at_once(self):
        assert (self.result, add.do(2)) == (11, 12)
        self.assert_submitted(add, 2)
""",
    )

    result.assert_outcomes(passed=2)
