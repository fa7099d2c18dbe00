"""The plugin in any project: with and without Django, pytest-django and several processes."""

from __future__ import annotations

import os
import subprocess
import sys

from django_gearman.backends import LOCAL
from django_gearman.testing.plugin import TRANSPORTS
from tests.support.project import ROOT, run


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
assert len(ours) == 5, ours  # the packages, the plugin, its programs, and the environment
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


def test_the_plugin_which_knows_no_django_offers_the_local_transports_and_a_real_one():
    assert sorted(TRANSPORTS) == sorted([*LOCAL, "real"])
