"""Sessions that start a real gearmand."""

from __future__ import annotations

import pytest

from tests.support.project import SETTINGS, run


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


def without_gearmand(project, monkeypatch) -> None:
    project.makeconftest(
        """
import django_gearman.testing.programs as programs
programs._PLACES = ""
"""
    )
    monkeypatch.delenv("GEARMAND", raising=False)
    monkeypatch.setenv("PATH", "")


REAL = """
def test_fixture(gearman_server):
    assert gearman_server.name == "gearman_server"
    assert add.do(1) == 11

@pytest.mark.gearman("real")
def test_marker(gearman_worker):
    send.do_background("ada")
    assert gearman_worker.run() == 1
    assert RAN == ["ada"]
"""


def test_the_included_server_runs_without_gearmand(project, monkeypatch):
    without_gearmand(project, monkeypatch)

    result = run(project, REAL)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["gearman: real job servers are the included gearman_server"])


def test_gearmand_can_be_required(project, monkeypatch):
    without_gearmand(project, monkeypatch)

    result = run(project, REAL, "--gearman-required")

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*apt-get install gearman-job-server*"])


def test_a_gearmand_that_cannot_be_run_is_an_error(project, monkeypatch):
    monkeypatch.setenv("GEARMAND", "/no/gearmand")

    result = run(project, REAL)

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["gearman: GEARMAND='/no/gearmand' is not a program*"])


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
