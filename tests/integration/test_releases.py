"""
A release that moves every module, put in place under processes that run the one before it.

The old release is the last commit before the modules moved into rooms, from this repository's own
history. A supervisor of it gets SIGHUP after the new release has taken its place on the path, as a
deployment does it. Everything that the two say to each other is tried: the hand-over of processes,
the scoreboard that an old process writes and the new supervisor reads, and the jobs on the wire.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT
from tests.support.gearmand import Gearmand, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

SETTINGS = """
import os

SECRET_KEY = "only for a test"
INSTALLED_APPS = ["django_gearman", "shop"]
GEARMAN_SERVERS = [os.environ["SERVER"]]
DATABASES = {}
"""
JOBS = """
import os
import sys
import time

from django_gearman import gearman_job


def release():
    return "new" if "django_gearman.jobs.registry" in sys.modules else "old"


@gearman_job
def add(client, number):
    with open(os.environ["TRAIL"], "a") as trail:
        trail.write(f"{client} {number}\\n")
    time.sleep(0.01)
    return [number, release()]


@gearman_job(retries=1, backoff=0)
def hold(path):
    with open(path, "a") as trail:
        trail.write(f"{os.getpid()} {release()}\\n")
    while not os.path.exists(f"{path}.go"):
        time.sleep(0.01)
    return release()
"""
# Waits for results and sends jobs to the background in turn, until it is told to stop.
CLIENT = """
import json
import os
import signal
import sys

import django

django.setup()

from shop.gearman_jobs import add, release

name, goes_on = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *_: goes_on.append(False))
sent = 0
while not goes_on:
    number, by = add.do(name, sent)
    assert number == sent, (number, sent)
    add.do_background(name, sent + 1)
    sent += 2
    print(json.dumps(by), flush=True)
print(json.dumps({"sent": sent, "release": release()}))
"""


OLD_MODULE = "django_gearman/server.py"  # the move removed it


def last_release_before_the_move() -> str:
    """Return the commit before the one that moved the modules into rooms."""
    moved = git("log", "-1", "--no-renames", "--diff-filter=D", "--format=%H", "--", OLD_MODULE)
    assert moved, "the history of this clone is cut off: git fetch --unshallow"
    return f"{moved.decode().strip()}^"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


class Site:
    """A project, the release that it runs on, and its processes."""

    def __init__(self, path: Path, server: Gearmand) -> None:
        self.path = path
        self.trail = path / "trail"
        self._server = server
        self._processes: list[subprocess.Popen[bytes]] = []
        (path / "project" / "shop").mkdir(parents=True)
        (path / "project" / "settings.py").write_text(SETTINGS)
        (path / "project" / "shop" / "__init__.py").write_text("")
        (path / "project" / "shop" / "gearman_jobs.py").write_text(JOBS)
        (path / "project" / "client.py").write_text(CLIENT)
        archive = git("archive", last_release_before_the_move(), "django_gearman")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(path / "old", filter="data")
        (path / "new").mkdir()
        (path / "new" / "django_gearman").symlink_to(ROOT / "django_gearman")
        self.deploy("old")

    def deploy(self, release: str) -> None:
        """Point the path to a release, in one step."""
        link = self.path / "next"
        link.symlink_to(release)
        link.replace(self.path / "current")

    def start(self, release: str, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(self.path / release), str(self.path / "project")])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "DJANGO_SETTINGS_MODULE": "settings",
            "SERVER": self._server.address,
            "TRAIL": str(self.trail),
        }
        with (self.path / log).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.path / "project",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def worker(self, processes: int) -> subprocess.Popen[bytes]:
        worker = self.start(
            "current", "-m", "django", "gearman_worker", "-w", str(processes), log="worker.log"
        )
        self.wait_for_workers(processes)
        return worker

    def wait_for_workers(self, number: int) -> None:
        wait_until(
            lambda: self._server.totals().get("shop.add", (0, 0, 0))[2] == number,
            f"{number} workers",
        )

    def is_drained(self) -> bool:
        return all(total == 0 for total, _, _ in self._server.totals().values())

    def log(self, name: str) -> str:
        return (self.path / name).read_text()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                orphans = children(process)
                process.kill()
                process.wait()
                for child in orphans:
                    with suppress(ProcessLookupError):  # it ends with its parent
                        os.kill(child, signal.SIGKILL)


def children(process: subprocess.Popen[bytes]) -> set[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return {int(child) for child in path.read_text().split()}


@pytest.fixture
def site(tmp_path: Path, own_gearmand: Gearmand) -> Iterator[Site]:
    site = Site(tmp_path, own_gearmand)
    yield site
    site.close()


def test_a_reload_into_the_new_layout_is_noticed_by_no_client(site):
    worker = site.worker(3)
    before = children(worker)
    clients = {
        name: site.start(name.partition("-")[0], "client.py", name, log=f"{name}.log")
        for name in ("old-1", "old-2", "new-1", "new-2")
    }

    def seen(release: str) -> bool:
        return all(site.log(f"{name}.log").count(release) >= 5 for name in clients)

    wait_until(lambda: seen('"old"'), "each client has results of the old release")
    site.deploy("new")
    worker.send_signal(signal.SIGHUP)
    wait_until(lambda: not before & children(worker), "all processes are replaced", 60)
    wait_until(lambda: seen('"new"'), "each client has results of the new release")

    sent = {}
    for name, client in clients.items():
        client.terminate()
        assert client.wait(30) == 0, site.log(f"{name}.log")
        end = json.loads(site.log(f"{name}.log").splitlines()[-1])
        assert end["release"] == name.partition("-")[0]
        sent[name] = end["sent"]
    wait_until(site.is_drained, "the background jobs have run")
    worker.terminate()
    assert worker.wait(30) == 0
    assert Counter(site.trail.read_text().splitlines()) == Counter(
        f"{name} {number}" for name in clients for number in range(sent[name])
    )
    log = site.log("worker.log")
    assert "Traceback" not in log, log
    assert "ERROR" not in log, log


def test_an_old_process_that_dies_under_the_new_supervisor_does_not_cost_a_job(site):
    """The scoreboard was written by the old release, and is read by the new one."""
    worker = site.worker(2)
    held = site.path / "held"
    client = site.start(
        "old",
        "-c",
        "import django, sys; django.setup()\n"
        "from shop.gearman_jobs import hold\n"
        "print(hold.do(sys.argv[1]))",
        str(held),
        log="client.log",
    )
    wait_until(lambda: held.exists() and held.read_text(), "the job has begun")
    busy = int(held.read_text().split()[0])
    before = children(worker)
    site.deploy("new")
    worker.send_signal(signal.SIGHUP)
    wait_until(lambda: children(worker) & before == {busy}, "only the busy one is left", 60)

    os.kill(busy, signal.SIGKILL)
    wait_until(lambda: held.read_text().count("\n") == 2, "the job runs again")
    held.with_name("held.go").touch()

    assert client.wait(30) == 0, site.log("client.log")
    assert site.log("client.log") == "new\n"
    assert "killed by SIGKILL" in site.log("worker.log")
    assert "while it ran job shop.hold" in site.log("worker.log")
    worker.terminate()
    assert worker.wait(30) == 0
