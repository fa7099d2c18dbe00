"""Django's own test runner: test cases that ask for nothing reach no job server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """
import os
SECRET_KEY = "only for a test"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
GEARMAN_BACKEND = os.environ.get("BACKEND", "gearman")
GEARMAN_SERVERS = [os.environ["SERVER"]]
GEARMAN_OPTIONS = {"connect_timeout": 1.0} if GEARMAN_BACKEND == "gearman" else {}
"""
JOBS = """
from django_gearman import gearman_job

RAN = []

@gearman_job
def note(value):
    RAN.append(value)
    return value
"""
TESTS = """
import io
import os

from django.core.management import call_command
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from django_gearman import GearmanClient, GearmanWorker, gearman_job
from django_gearman.backends import get_backend
from django_gearman.testing import JobServerForbidden, capture_jobs, override_gearman
from shop.gearman_jobs import RAN, note


class Plain:
    def setUp(self):
        RAN.clear()

    def test_jobs_run_at_once(self):
        note.do_background(1)
        GearmanClient().submit_job("shop.note", 2)
        self.assertEqual(note.map([3]), [3])
        self.assertEqual(RAN, [1, 2, 3])

    def test_other_settings_change_nothing(self):
        with override_settings(ALLOWED_HOSTS=["here"], GEARMAN_SERVERS=["127.0.0.1:1"]):
            self.assertEqual(note.do(1), 1)

    def test_a_server_is_not_reached_by_a_setting(self):
        with override_settings(GEARMAN_BACKEND="gearman"):
            for attempt in (lambda: note.do_background(1), GearmanWorker().work):
                with self.assertRaisesRegex(JobServerForbidden, "override_gearman"):
                    attempt()
        self.assertEqual(note.do(1), 1)

    def test_a_test_chooses(self):
        with override_settings(GEARMAN_BACKEND="memory", GEARMAN_OPTIONS={"name": "own"}):
            note.do_background(1)
            self.assertEqual(RAN, [])
            GearmanWorker().work(burst=True)
        self.assertEqual(RAN, [1])
        with override_gearman("gearman", servers=["127.0.0.1:1"]):
            self.assertEqual(type(get_backend()).__name__, "GearmandBackend")

    def test_jobs_are_captured(self):
        with capture_jobs() as captured:
            note.do_background(1)
        captured.assert_submitted(note, 1, times=1)

    def test_jobs_of_tests_run(self):
        @gearman_job(name=f"of-{type(self).__name__}")
        def declared():
            return 5

        self.assertEqual(declared.do(), 5)

    def test_there_is_no_server_to_ask(self):
        out = io.StringIO()
        call_command("gearman_health", stdout=out)
        self.assertIn("no server to check", out.getvalue())


class SimpleTests(Plain, SimpleTestCase):
    pass


class DatabaseTests(Plain, TestCase):
    @classmethod
    def setUpTestData(cls):
        assert note.do(1) == 1


class TransactionTests(Plain, TransactionTestCase):
    pass
"""


@pytest.fixture
def project(tmp_path) -> Path:
    manage = (ROOT / "manage.py").read_text().replace("gearman_example.settings", "settings")
    files = {"settings": SETTINGS, "manage": manage, "shop/__init__": "", "shop/tests": TESTS}
    for name, text in {**files, "shop/gearman_jobs": JOBS}.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def manage(
    project: Path, listener: socket.socket, *arguments: str, backend: str = "gearman"
) -> subprocess.CompletedProcess[str]:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SERVER": address, "BACKEND": backend}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ([], "gearman"),
        (["--parallel", "2"], "gearman"),
        (["--shuffle"], "python-gearman"),
        ([], "django_gearman.backends.gearmand.GearmandBackend"),
        ([], "eager"),
    ],
)
def test_a_test_run_reaches_no_job_server(project, listener, options, backend):
    run = manage(project, listener, "test", *options, backend=backend)

    assert run.returncode == 0, run.stderr
    assert "Ran 21 tests" in run.stderr
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_outside_of_test_runs_the_settings_hold(project, listener):
    submit = "from shop.gearman_jobs import note; print(note.do_background(1))"
    run = manage(
        project, listener, "shell", "-c", "import django.test, django.test.utils; " + submit
    )

    assert (
        "ConnectionLost" in run.stderr or "Unavailable" in run.stderr or "Uncertain" in run.stderr
    )
    listener.accept()[0].close()


def test_after_a_test_run_the_settings_hold(project, listener):
    (project / "again.py").write_text(
        "import django; django.setup()\n"
        "from django.test.utils import setup_test_environment, teardown_test_environment\n"
        "from django_gearman.backends import get_backend_class\n"
        "setup_test_environment()\n"
        "print(get_backend_class().__name__)\n"
        "teardown_test_environment()\n"
        "print(get_backend_class().__name__)\n"
    )
    run = subprocess.run(
        [sys.executable, "again.py"],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SERVER": "localhost",
            "DJANGO_SETTINGS_MODULE": "settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.stdout.split() == ["EagerBackend", "GearmandBackend"], run.stderr
