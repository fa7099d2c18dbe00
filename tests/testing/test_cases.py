"""Without pytest's fixtures: a mixin, a decorator, a block."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path

import pytest
from django.test import SimpleTestCase, TestCase, override_settings

from django_gearman import GearmanClient
from django_gearman.backends import backend_settings, get_backend
from django_gearman.backends.eager import EagerBackend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.environment import Environment, replaced
from django_gearman.exceptions import InvalidBackend, JobRaised
from django_gearman.testing import (
    GearmanTestMixin,
    JobServerForbidden,
    RecordingClient,
    capture_jobs,
    override_gearman,
)
from tests.app import gearman_jobs as jobs

ROOT = Path(__file__).parent.parent.parent


class MixinTests(GearmanTestMixin, TestCase):
    def setUp(self):
        jobs.note.do_background("in setUp, without a call of super")

    def test_jobs_run_at_once_and_are_recorded(self):
        jobs.add.do_background(1)

        self.assert_submitted(jobs.add, 1)
        self.assert_not_submitted(queue="mail")
        self.assertEqual(len(self.gearman_client.submitted), 2)
        self.assertEqual(self.submitted[1].result, 11)

    def test_each_test_has_its_own(self):
        self.assertEqual([job.name for job in self.submitted], ["tests.app.note"])

    def test_an_exception_of_a_job_reaches_the_test(self):
        with self.assertRaisesMessage(ValueError, "boom"):
            jobs.fail.do_background("boom")

    @override_gearman("memory")
    def test_the_transport_of_one_test(self):
        jobs.send.do_background("ada")

        self.assertEqual(self.submitted[1].runs, 0)
        self.assertEqual(self.gearman_worker.run(queue="mail"), 1)
        self.assertEqual(self.submitted[1].result, "Hello, ada")


class ConfiguredMixinTests(GearmanTestMixin, SimpleTestCase):
    gearman_transport = "memory"
    gearman_raise_failures = False

    def test_the_transport_of_a_class(self):
        request = self.gearman_client.submit_job(
            "tests.app.fail", "boom", wait_until_complete=False
        )

        self.assertEqual(self.gearman_worker.run(), 1)
        with pytest.raises(JobRaised):
            print(request.wait().result)


@override_gearman("memory")
class DecoratedTests(SimpleTestCase):
    def test_the_decorator_may_stand_on_a_class(self):
        self.assertIsInstance(get_backend(), MemoryBackend)
        self.assertNotIsInstance(get_backend(), EagerBackend)


class StrictMixinTests(unittest.TestCase):
    """A strict test that leaves something is a failed one."""

    class Strict(GearmanTestMixin, SimpleTestCase):
        __test__ = False
        gearman_transport = "memory"
        gearman_strict = True

        def test_leaves_a_job(self):
            jobs.note.do_background(1)

        def test_runs_what_it_submits(self):
            jobs.note.do_background(1)
            self.gearman_worker.run()

    def test_it(self):
        result = unittest.TestResult()
        for name in ("test_leaves_a_job", "test_runs_what_it_submits"):
            with replaced(Environment()):
                self.Strict(name)(result)

        [(test, message)] = result.failures
        self.assertEqual(test._testMethodName, "test_leaves_a_job")
        self.assertIn("tests.app.note(1)", message)
        self.assertIn("left queued", message)


# Blocks


def test_a_block_has_its_own_transport_and_one_record(gearman_client, ran):
    jobs.note.do_background("at once")
    with override_gearman("memory") as inner:
        jobs.note.do_background("queued")
        assert isinstance(inner, RecordingClient)
        assert len(inner.submitted) == 2
    jobs.note.do_background("at once again")

    assert ran == ["at once", "at once again"]
    assert [job.finished for job in gearman_client.submitted] == [True, False, True]


def test_blocks_may_be_nested_and_used_again(ran):
    memory = override_gearman("memory")
    with memory:
        jobs.note.do_background(1)
        with override_gearman("eager"):
            jobs.note.do_background(2)
            with memory:
                jobs.note.do_background(3)
        assert ran == [2]
    assert type(get_backend()) is EagerBackend


@override_gearman("memory")
def test_a_function_may_be_decorated(ran):
    jobs.note.do_background(1)
    assert ran == []


def test_failures_are_raised_unless_the_block_says_otherwise():
    with override_gearman("eager"), pytest.raises(ValueError, match="boom"):
        jobs.fail.do("boom")
    with override_gearman("eager", raise_failures=False), pytest.raises(JobRaised):
        jobs.fail.do("boom")


@pytest.mark.gearmand
def test_a_private_gearmand_for_a_block(production, gearmand):
    with override_gearman("real") as client:
        assert client.submit_job("tests.app.add", 1).result == 11
        assert get_backend().functions()
    with override_gearman("gearman", servers=[gearmand.address]):
        assert str(gearmand.port) in jobs.note.do_background(1).handle
    with override_gearman("python-gearman", servers=[gearmand.address]) as client:
        assert client.submit_job("tests.app.add", 1).result == 11


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (["memroy"], {}, ValueError),
        (["gearman"], {}, TypeError),
        (["memory"], {"servers": ["127.0.0.1"]}, TypeError),
        (["gearman"], {"servers": "127.0.0.1"}, InvalidBackend),
        (["gearman"], {"servers": []}, InvalidBackend),
    ],
)
def test_an_unknown_transport_is_an_error(arguments, options, error):
    with pytest.raises(error), override_gearman(*arguments, **options):
        pass


def test_wrong_options_are_reported_when_they_are_used(gearman_client):
    with (
        override_gearman("memory", options={"max_queue": 1}),
        pytest.raises(InvalidBackend, match="max_queue"),
    ):
        jobs.note.do_background(1)


def test_options_are_those_of_the_transport(gearman_client):
    from django_gearman.exceptions import ServerError

    with override_gearman("memory", options={"max_queued": 1}):
        jobs.note.do_background(1)
        with pytest.raises(ServerError, match="full"):
            jobs.note.do_background(2)
    assert len(gearman_client.submitted) == 1, "what was refused was not submitted"


# Capturing


def test_submissions_in_a_block_are_captured(gearman_client):
    jobs.add.do(1)
    with capture_jobs() as captured:
        jobs.add.do(2)
        GearmanClient().submit_job("send-mail", "ada")
        assert len(captured) == 2
    jobs.add.do(3)

    assert [job.name for job in captured] == ["tests.app.add", "send-mail"]
    assert (captured[0].result, captured[-1:][0].queue) == (12, "mail")
    captured.assert_submitted("send-mail", "ada")
    captured.assert_not_submitted(jobs.add, 3)
    assert len(gearman_client.submitted) == 4


def test_capturing_needs_no_fixture():
    with capture_jobs() as captured:
        jobs.add.do_background(1)

    assert captured.assert_submitted(jobs.add, 1).result == 11


def test_an_error_in_the_block_leaves_what_was_captured():
    with pytest.raises(KeyError), capture_jobs() as captured:
        jobs.add.do(1)
        raise KeyError

    assert len(captured) == 1


# Django's own test runner


TESTS = """
import unittest
from django.test import TestCase
from django_gearman.testing import GearmanTestMixin
from tests.app import gearman_jobs as jobs


class Tests(GearmanTestMixin, TestCase):
    def test_one(self):
        for number in range(2):
            with self.subTest(number):
                jobs.add.do_background(number)
        self.assert_submitted(jobs.add, times=2)


class Others(GearmanTestMixin, TestCase):
    def test_two(self):
        self.assert_nothing_submitted()
"""
FAILING = """
    def test_three(self):
        self.gearman_client.submit_job("tests.app.ad", 1)


class AtClassLevel(GearmanTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.result = jobs.add.do(1)
        jobs.note.do_background("by the class")

    def test_four(self):
        assert self.result == 11
        self.assert_nothing_submitted()

    test_five = test_four


class Typo(GearmanTestMixin, TestCase):
    gearman_transport = "memroy"

    def test_six(self):
        pass


class WithoutServer(GearmanTestMixin, TestCase):
    gearman_transport = "real"

    def test_seven(self):
        pass


class Strict(GearmanTestMixin, TestCase):
    gearman_transport = "memory"
    gearman_strict = True

    def test_eight(self):
        jobs.note.do_background(1)
        self.fail("for its own reason")

    @unittest.expectedFailure
    def test_nine(self):
        jobs.note.do_background(1)
        self.fail("as expected")

    @unittest.skip("today")
    def test_ten(self):
        jobs.note.do_background(1)
"""


def run_tests(directory: Path, source: str, *arguments: str) -> str:
    (directory / "test_shop.py").write_text(source)
    (directory / "pytest.py").write_text("raise ImportError('there is no pytest')")
    settings = "from tests.settings import *\nGEARMAN_BACKEND = 'gearman'\n"
    settings += "import django_gearman.testing.programs as programs\nprograms._PLACES = ''\n"
    (directory / "production_settings.py").write_text(settings)
    environment = {
        **os.environ,
        "PATH": "",
        "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]),
        "DJANGO_SETTINGS_MODULE": "production_settings",
    }
    run = subprocess.run(
        [sys.executable, "-m", "django", "test", *arguments, "test_shop"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stderr


def test_djangos_test_runner_needs_no_pytest(tmp_path):
    message = run_tests(tmp_path, TESTS + FAILING)

    assert "FAILED (failures=1, errors=2, skipped=1, expected failures=1)" in message, message
    assert "did you mean 'tests.app.add'" in message
    assert "'memroy' is not a transport" in message
    assert "for its own reason" in message


def test_djangos_test_runner_may_use_several_processes(tmp_path):
    message = run_tests(tmp_path, TESTS, "--parallel=2")

    assert "Ran 2 tests" in message
    assert "OK" in message.splitlines()


def test_outside_of_a_test_there_is_no_harness(production):
    with pytest.raises(AssertionError, match="only while a test runs"):
        print(MixinTests("test_each_test_has_its_own").gearman_client)


def test_a_plain_test_reaches_no_real_server(settings):
    settings.GEARMAN_BACKEND = "gearman"

    with pytest.raises(JobServerForbidden, match="gearman_server"):
        jobs.add.do(1)


# Apps that a test changes


def test_a_test_that_changes_the_apps_leaves_the_isolation_of_others_as_it_was(settings):
    """Django makes every app ready again, while GEARMAN_BACKEND may be the test's."""
    apps = override_settings(INSTALLED_APPS=settings.INSTALLED_APPS)
    with override_settings(GEARMAN_BACKEND="gearman"), apps:
        pass

    del settings.GEARMAN_BACKEND
    assert backend_settings()[0] == "gearman", "the setting's default, since the test deleted it"
