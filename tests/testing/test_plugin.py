"""The pytest plugin, in sessions of its own: what an installation brings, without any conftest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SETTINGS = """
SECRET_KEY = "only for a test"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
JOBS = """
from django_gearman import gearman_job

RAN = []

@gearman_job
def add(left, right=10):
    return left + right

@gearman_job("mail")
def send(to):
    RAN.append(to)
    return "sent"

@gearman_job
def fail(message):
    raise ValueError(message)
"""


@pytest.fixture(autouse=True)
def quick_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions without Hypothesis, whose import would take half of their time."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with jobs, and tests that pytest-django sets up."""
    pytester.makepyfile(**{"settings": SETTINGS, "shop/__init__": "", "shop/gearman_jobs": JOBS})
    pytester.makeini(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = settings\nfilterwarnings = error\n"
    )
    # Outside the clone, the package is found where it was installed, or where these tests found it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    return pytester


def run(project: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    project.makepyfile(test_it="import pytest\nfrom shop.gearman_jobs import *\n" + source)
    return project.runpytest_subprocess("-p", "no:randomly", *arguments)


# What installing the package brings


def test_fixtures_are_there_without_a_conftest(project):
    result = run(
        project,
        """
def test_job(gearman_client):
    assert gearman_client.submit_job("shop.add", left=1).result == 11

def test_worker(gearman_client, gearman_worker):
    send.do_background("ada")
    assert gearman_worker.run() == 0
    assert gearman_client.assert_submitted("shop.send", to="ada").result == "sent"

def test_each_test_has_its_own(gearman_client):
    gearman_client.assert_nothing_submitted()
""",
    )

    result.assert_outcomes(passed=3)


def test_loading_the_plugin_loads_no_django(tmp_path):
    program = """
import sys
import django_gearman.testing.plugin
loaded = [name for name in sys.modules if name.partition(".")[0] in ("django", "asgiref")]
ours = [name for name in sys.modules if name.startswith("django_gearman")]
assert loaded == [], loaded
assert len(ours) == 4, ours  # the packages, the plugin and the instrumentation
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


def test_a_session_without_django_is_left_alone(pytester, monkeypatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makepyfile(
        """
import sys

def test_nothing_was_loaded():
    assert "django" not in sys.modules

def test_a_fixture_says_what_it_needs(gearman_client):
    pass
"""
    )

    result = pytester.runpytest_subprocess("-p", "no:django", "-p", "no:randomly")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*DJANGO_SETTINGS_MODULE*"])


def test_it_works_without_pytest_django(project):
    project.makeini("[pytest]\npythonpath = .\n")
    project.makeconftest(
        """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
"""
    )

    result = run(
        project,
        """
def test_job(gearman_client):
    assert add.do(1) == 11
    gearman_client.assert_submitted(add, 1)

def test_plain():
    assert add.do(1) == 11
""",
        "-p",
        "no:django",
    )

    result.assert_outcomes(passed=2)


def test_django_may_be_set_up_by_a_fixture(project):
    project.makeini("[pytest]\npythonpath = .\n")

    project.makepyfile(
        test_it="""
import os, pytest

@pytest.fixture
def project():
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    import django
    django.setup()

def test_job(project, gearman_client):
    assert gearman_client.submit_job("shop.add", 1).result == 11

def test_dynamically(request):
    client = request.getfixturevalue("gearman_client")
    assert client.submit_job("shop.add", 1).result == 11
    assert len(client.submitted) == 1
"""
    )
    result = project.runpytest_subprocess("-p", "no:django", "-p", "no:randomly")

    result.assert_outcomes(passed=2)


def test_it_works_in_several_processes(project):
    result = run(
        project,
        """
@pytest.mark.parametrize("n", range(20))
def test_job(gearman_client, n):
    assert add.do(n) == n + 10
    gearman_client.assert_submitted(add, n, times=1)
    assert len(gearman_client.submitted) == 1
""",
        "-n",
        "2",
    )

    result.assert_outcomes(passed=20)


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

def test_a_command_is_told_too(settings, capsys):
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


def test_a_broken_setting_is_told_by_those_who_use_it(project):
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


# The marker and the options


BODY = """
def test_body(gearman_client, gearman_worker):
    request = gearman_client.submit_job("shop.add", 1, wait_until_complete=False)
    send.do_background("ada")
    gearman_worker.run()
    assert request.wait(10).result == 11
    assert gearman_client.assert_submitted(send, "ada").result == "sent"
    assert RAN == ["ada"]
    from django_gearman.backends import get_backend
    print("ran on", type(get_backend()).__name__)
"""


@pytest.mark.parametrize(
    ("transport", "backend"),
    [
        ("eager", "EagerBackend"),
        ("memory", "MemoryBackend"),
        pytest.param("real", "GearmandBackend", marks=pytest.mark.gearmand),
    ],
)
@pytest.mark.parametrize("how", ["option", "marker"])
def test_one_body_runs_on_each_transport(project, transport, backend, how):
    marker = f"@pytest.mark.gearman({transport!r})" if how == "marker" else ""
    options = [f"--gearman={transport}"] if how == "option" else []

    result = run(project, marker + BODY, "-s", *options)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*ran on {backend}*"])


@pytest.mark.gearmand
def test_python_gearman_projects_meet_their_own_transport(project):
    pytest.importorskip("gearman", reason="the bindings are not installed")
    project.makepyfile(settings=SETTINGS + "GEARMAN_BACKEND = 'python-gearman'")

    result = run(project, BODY, "-s", "--gearman=real")

    result.stdout.fnmatch_lines(["*ran on PythonGearmanBackend*"])


def test_a_marker_goes_before_the_option(project):
    result = run(
        project,
        """
@pytest.mark.gearman("memory")
class TestThem:
    def test_queued(self):
        send.do_background("ada")
        assert RAN == []

    @pytest.mark.gearman(raise_failures=False)
    def test_markers_add_up(self, gearman_worker):
        fail.do_background("boom")
        assert gearman_worker.run() == 1

def test_at_once():
    send.do_background("bob")
    assert RAN == ["bob"]
""",
        "--gearman=eager",
    )

    result.assert_outcomes(passed=3)


def test_a_marker_that_means_nothing_is_an_error(project):
    markers = ["'memroy'", "transport='x'", "'memory', 'eager'", "stric=True"]
    tests = [
        f"@pytest.mark.gearman({marker})\ndef test_{number}():\n    pass\n"
        for number, marker in enumerate(markers)
    ]

    result = run(project, "\n".join(tests))

    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*'eager' | 'memory' | 'real'*"] * 4)


STRICT = """
@pytest.mark.gearman("memory")
def test_left(gearman_client):
    send.do_background("ada")

@pytest.mark.gearman("memory", raise_failures=False)
def test_failed(gearman_worker):
    fail.do_background("boom")
    gearman_worker.run()

@pytest.mark.gearman("memory", raise_failures=False)
def test_fine(gearman_client, gearman_worker):
    import datetime
    for _ in range(2):
        fail.using(unique="one").do_background("boom")
    request = gearman_client.submit_job("shop.fail", "boom", wait_until_complete=False)
    send.using(run_after=datetime.timedelta(hours=1)).do_background("ada")
    gearman_worker.run()
    assert request.wait().exception
    assert gearman_client.submitted[0].exception

def test_raised(gearman_client):
    with pytest.raises(ValueError):
        fail.do_background("boom")
"""


def test_strict_tests_leave_nothing_behind(project):
    result = run(project, STRICT)
    result.assert_outcomes(passed=4)

    project.makeini(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = settings\ngearman_strict = true\n"
    )
    result = run(project, STRICT)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*shop.send('ada')*was left queued*",
            "*shop.fail('boom')*failed, and nobody looked*",
        ]
    )


def test_a_strict_marker_is_for_its_test(project):
    result = run(
        project,
        """
@pytest.mark.gearman("memory", strict=True)
def test_strict():
    send.do_background("ada")

@pytest.mark.gearman("memory", strict=True)
def test_its_own_failure_is_told():
    send.do_background("ada")
    assert RAN == ["no"]

@pytest.mark.gearman("memory")
def test_lenient():
    send.do_background("ada")
""",
    )

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*was left queued*", "*assert*RAN*"])


# A real gearmand


@pytest.mark.gearmand
def test_the_server_is_private_and_empty_for_each_test(project):
    result = run(
        project,
        """
from django_gearman.backends import get_backend

def use(server):
    assert get_backend().functions() == []
    send.do_background("ada")
    assert get_backend().functions()[0].function == "shop.send"

def test_one(gearman_server):
    use(gearman_server)

def test_two(gearman_server, gearman_client):
    use(gearman_server)
    gearman_client.assert_submitted(send)

def test_three(request):
    send.do_background("here")
    use(request.getfixturevalue("gearman_server"))
    assert RAN == ["here"]

def test_killed(gearman_server):
    gearman_server.kill()

@pytest.mark.gearman("eager")
def test_five(gearman_server):
    use(gearman_server)

def test_plain():
    send.do_background("here")
    assert RAN == ["here", "here"]
""",
    )

    result.assert_outcomes(passed=6)


@pytest.mark.parametrize(
    ("options", "outcomes"), [([], {"skipped": 2}), (["--gearman-required"], {"errors": 2})]
)
def test_where_there_is_no_gearmand(project, monkeypatch, options, outcomes):
    project.makeconftest(
        """
import django_gearman.testing.gearmand as server
server._PLACES = ""
"""
    )
    monkeypatch.setenv("PATH", "")

    result = run(
        project,
        """
def test_fixture(gearman_server):
    pass

@pytest.mark.gearman("real")
def test_marker():
    pass
""",
        "-rs",
        *options,
    )

    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["*apt-get install gearman-job-server*"])


@pytest.mark.gearmand
def test_real_worker_processes_find_the_server(project):
    project.makepyfile(
        settings=SETTINGS + "import os\nGEARMAN_SERVERS = [os.environ.get('SERVER', 'localhost')]"
    )

    result = run(
        project,
        """
import os, subprocess, sys

def test_processes(gearman_server, gearman_client):
    environment = {**os.environ, "SERVER": gearman_server.address,
                   "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen([sys.executable, "-m", "django", "gearman_worker"], env=environment)
    try:
        from django_gearman.backends import get_backend
        while not any("shop.add" in row.functions for row in get_backend().workers()):
            assert worker.poll() is None
        assert gearman_client.submit_job("shop.add", 1).result == 11
        [job] = gearman_client.submitted
        assert (job.result, job.runs) == (11, 0)
        request = gearman_client.submit_job("shop.fail", "boom")
        assert request.state == "FAILED"
        assert "boom" in str(gearman_client.submitted[1].exception)
    finally:
        worker.terminate()
        assert worker.wait() == 0
""",
    )

    result.assert_outcomes(passed=1)


# Test cases under pytest


def test_test_cases_and_fixtures_get_along(project):
    result = run(
        project,
        """
from django.test import SimpleTestCase, override_settings
from django_gearman.testing import GearmanTestMixin

@override_settings(GEARMAN_BACKEND="memory")
class PlainCase(SimpleTestCase):
    def test_one(self):
        send.do_background("ada")
        assert RAN == []
    test_two = test_one

class MixinCase(GearmanTestMixin, SimpleTestCase):
    def test_mixin(self):
        add.do_background(1)
        self.assert_submitted(add, 1)

@pytest.mark.gearman("memory", strict=True)
class MarkedCase(SimpleTestCase):
    def test_marked(self):
        send.do_background("ada")

@pytest.mark.usefixtures("gearman_client")
@override_settings(GEARMAN_BACKEND="memory")
class FixtureCase(SimpleTestCase):
    def test_one(self):
        assert add.do(1) == 11
    test_two = test_one
""",
    )

    result.assert_outcomes(passed=5, failed=1)


def test_settings_of_a_test_end_with_it(project):
    result = run(
        project,
        """
def test_changes(settings, gearman_client):
    settings.GEARMAN_SERIALIZER = "pickle"
    assert add.do(1) == 11

def test_changes_dynamically(request, settings):
    settings.GEARMAN_SERIALIZER = "pickle"
    request.getfixturevalue("gearman_client")
    settings.GEARMAN_BACKEND = "memory"
    assert add.do(1) == 11

def test_unchanged(settings):
    assert not hasattr(settings, "GEARMAN_SERIALIZER")
    assert settings.GEARMAN_BACKEND == "eager"
""",
    )

    result.assert_outcomes(passed=3)


def test_the_help_tells_of_options_and_marker(project):
    told = project.runpytest_subprocess("--help").stdout.str()
    assert all(name in told for name in ("--gearman=", "--gearman-required", "gearman_strict"))

    told = project.runpytest_subprocess("--markers").stdout.str()
    assert "@pytest.mark.gearman(transport=None, strict=False, raise_failures=True)" in told


# Nothing leaks


LEAVING = """
import threading
import time
from datetime import timedelta
from django_gearman import GearmanClient, GearmanWorker
from django_gearman.backends import get_backend

def leave(n):
    RAN.clear()
    send.using(run_after=timedelta(hours=1)).do_background(n)
    send.do_background(n)
    if n % 50 == 0:
        worker = GearmanWorker(clean_connections=False)
        threading.Thread(target=worker.work, daemon=True).start()
        while worker._session is None:  # it began in this test, so it is of this test
            time.sleep(0.001)

@pytest.mark.parametrize("n", range(334))
@pytest.mark.parametrize("transport", [
    pytest.param("eager", marks=pytest.mark.gearman("eager")),
    pytest.param("memory", marks=pytest.mark.gearman("memory")),
])
def test_that_asks(gearman_client, gearman_worker, transport, n):
    assert get_backend().functions() == []
    assert gearman_client.submitted == []
    with pytest.raises(LookupError):
        gearman_client.submit_job("php.pdf")

    leave(n)
    gearman_client.stub("php.pdf", returns=n)
    assert gearman_client.submit_job("php.pdf").result == n
    gearman_client.server_down()

@pytest.mark.parametrize("n", range(334))
def test_plain(n):
    assert get_backend().functions() == []
    with pytest.raises(LookupError):
        GearmanClient().submit_job("php.pdf")

    leave(n)
"""


@pytest.mark.parametrize(
    "options", [["-p", "no:randomly"], ["-n", "4"]], ids=["in order", "in random order, by four"]
)
def test_a_thousand_tests_each_start_clean(project, options):
    project.makepyfile(
        settings=SETTINGS + "GEARMAN_EXTERNAL_JOBS = ['php.*']",
        test_it="import pytest\nfrom shop.gearman_jobs import *\n" + LEAVING,
    )

    result = project.runpytest_subprocess(*options)

    result.assert_outcomes(passed=1002)


@pytest.mark.gearmand
def test_a_real_server_is_clean_for_each_test(project):
    result = run(
        project,
        """
import threading, time
from django_gearman import GearmanWorker
from django_gearman.backends import get_backend

@pytest.mark.gearman("real")
@pytest.mark.parametrize("n", range(5))
def test_it(gearman_worker, gearman_server, n):
    assert get_backend().workers() == []
    assert not any(row.total for row in get_backend().functions())
    send.do_background(n)
    assert gearman_worker.run() == 1
    threading.Thread(target=GearmanWorker(clean_connections=False).work, daemon=True).start()
    assert add.do(n) == n + 10
    send.do_background(n)
""",
    )

    result.assert_outcomes(passed=5)


@pytest.mark.gearmand
@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_servers_end_with_the_session(project, options):
    result = run(
        project,
        """
@pytest.mark.gearman("real")
@pytest.mark.parametrize("n", range(4))
def test_it(gearman_server, n):
    add.do(n)
    with open(f"server-{gearman_server.process.pid}", "w"):
        pass
""",
        *options,
    )

    result.assert_outcomes(passed=4)
    servers = [path.name.partition("-")[2] for path in project.path.glob("server-*")]
    assert servers
    assert not [server for server in servers if Path(f"/proc/{server}/exe").exists()]


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


def test_a_client_that_would_wait_for_ever_fails_in_any_test(project):
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


def test_what_was_submitted_before_a_test_asks_is_recorded_too(project):
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


def test_an_option_does_not_skip_tests_without_jobs(project, monkeypatch):
    project.makeconftest("import django_gearman.testing.gearmand as server\nserver._PLACES = ''")
    monkeypatch.setenv("PATH", "")

    result = run(
        project,
        "def test_nothing():\n    pass\n\ndef test_jobs():\n    add.do(1)\n",
        "--gearman=real",
    )

    result.assert_outcomes(passed=1, skipped=1)


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
