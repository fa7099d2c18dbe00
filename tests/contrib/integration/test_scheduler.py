"""Schedules with real databases, a real gearmand, and schedulers that are killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

DUE = "tests.contrib.integration.due"
only = pytest.mark.parametrize("vendor", ["postgresql"])

# Five schedulers whose clocks are a file's, and wrong by up to three seconds. Each is forked, and killed
# now and then. The clock moves on when a tick has been made.
SCHEDULERS = """
import datetime, random, struct
from django_gearman.backends import close_backends
from django_gearman.contrib.store.models import Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.contrib.store.scheduler.ticking import Scheduler

NUMBER = {number}
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
clock = os.open("{clock}", os.O_RDWR | os.O_CREAT)

def tell(seconds):
    os.pwrite(clock, struct.pack("d", seconds), 0)

def seconds():
    return struct.unpack("d", os.pread(clock, 8, 0))[0]

def schedule(skew):
    now = lambda: START + datetime.timedelta(seconds=seconds() + skew)
    scheduler = Scheduler(schedules(), "default", now)
    while os.getppid() == parent:
        try:
            scheduler.look()
        except Exception as error:  # two at the same time, on SQLite and MariaDB
            print(error, flush=True)
            connections.close_all()
        time.sleep(0.01)

def start(skew):
    connections.close_all()
    close_backends()
    child = os.fork()
    if not child:
        try:
            schedule(skew)
        finally:
            os._exit(1)
    return child

parent = os.getpid()
tell(0)
Scheduler(schedules(), "default", lambda: START).look()
skews = [-3.0, -1.5, 0.0, 1.5, 3.0]
children = [start(skew) for skew in skews]
kills = 0
for n in range(1, NUMBER + 1):
    tell(n * 60 + 5)
    if random.random() < 0.05:
        place = random.randrange(5)
        time.sleep(random.uniform(0, 0.02))
        os.kill(children[place], signal.SIGKILL)
        os.waitpid(children[place], 0)
        children[place] = start(skews[place])
        kills += 1
    deadline = time.monotonic() + 30
    while Tick.objects.count() < n:
        assert time.monotonic() < deadline, f"no tick {{n}}"
        time.sleep(0.005)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
assert Tick.objects.count() == NUMBER, Tick.objects.count()
print("kills", kills)
"""


@pytest.mark.parametrize(
    ("vendor", "number"), [("postgresql", 300), ("mariadb", 150), ("sqlite", 150)]
)
def test_five_schedulers_that_are_killed_submit_each_job_once(
    project, database, own_gearmand, tmp_path, number
):
    project.set(TEST_SCHEDULE=json.dumps({"minutely": {"job": DUE, "cron": "* * * * *"}}))
    project.python(SCHEDULERS.format(number=number, clock=tmp_path / "clock"), seconds=500)
    assert database.count("gearman_tick") == number
    project.python("OutboxJob.objects.update(next_try_at='2020-01-01T00:00:00Z')")
    project.manage("gearman_outbox", "--once")  # of those that died after their commit

    project.set(TEST_SCHEDULE="{}")  # or the worker would add ticks of the present minutes
    worker = project.worker("-w", "2")

    wait_until(lambda: len(project.lines()) >= number, "the jobs")
    assert project.stop(worker) == 0
    times = project.lines()
    assert (len(times), len({*times})) == (number, number)


def test_a_worker_alone_keeps_a_schedule_and_replaces_its_attendant(project, database):
    project.set(TEST_SCHEDULE=json.dumps({"often": {"job": DUE, "every": 0.5}}))
    worker = project.worker()
    wait_until(lambda: len(project.lines()) >= 2, "two ticks")

    attendant = attendant_of(worker.pid)
    os.kill(attendant, signal.SIGKILL)

    number = len(project.lines())
    wait_until(lambda: len(project.lines()) >= number + 3, "three more ticks")
    assert project.stop(worker) == 0
    assert f"attendant: process {attendant} was killed by SIGKILL" in project.output(worker)
    times = project.lines()
    assert len({*times}) == len(times)
    assert times == sorted(times)


def attendant_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [attendant] = [c for c in children if Path(f"/proc/{c}/comm").read_text() == "attendant\n"]
    return int(attendant)


@only
def test_ticks_of_an_outage_run_once_afterwards(project, database, own_gearmand):
    project.set(TEST_SCHEDULE=json.dumps({"often": {"job": DUE, "every": 1}}))
    worker = project.worker()
    wait_until(project.lines, "a tick")
    own_gearmand.kill()
    ticks = database.count("gearman_tick")
    wait_until(lambda: database.count("gearman_tick") >= ticks + 3, "ticks in the outage")

    own_gearmand.start()

    during = database.count("gearman_tick")
    wait_until(lambda: len({*project.lines()}) >= during, "all jobs")
    assert project.stop(worker) == 0
    times = project.lines()
    assert len(times) - len({*times}) <= 1, "only the one that ran when gearmand was killed"


@only
def test_without_overlap_a_long_job_never_runs_twice_at_once(project, database):
    entry = {"job": "tests.contrib.integration.slow", "args": [1.2], "every": 0.4}
    project.set(TEST_SCHEDULE=json.dumps({"slow": {**entry, "overlap": False}}))
    worker = project.worker("-w", "3")

    wait_until(lambda: len(project.lines()) >= 8, "four runs")

    assert project.stop(worker) == 0
    lines = project.lines()
    assert lines == ["begin", "end"] * (len(lines) // 2)
    assert database.count("gearman_tick") > len(lines) // 2
