"""Nothing that one test leaves behind reaches the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import SETTINGS, run

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
