"""The account of a supervisor: what all of its processes have done."""

from __future__ import annotations

import signal

import pytest

from django_gearman.supervisor import Account
from tests.support.gearmand import wait_until

# The code of a process, at the indent of the program in conftest.py
WORK = """
        for ended in (Ended.DONE, Ended.DONE, Ended.FAILED, Ended.RETRIED):
                scoreboard.count(ended)
        while not stopping:
                scoreboard.beat()
                time.sleep(0.01)
"""
TASK = """
        scoreboard.count(Ended.DONE)
        scoreboard.take(b"task", float("inf"))
        while True:
                time.sleep(0.01)
"""
LEAVE = """
        scoreboard.count(Ended.DONE)
        scoreboard.leave()
"""
CRASH = """
        scoreboard.count(Ended.DONE)
        if not os.path.exists(sys.argv[0] + ".crashed"):
                open(sys.argv[0] + ".crashed", "w").close()
                scoreboard.take(b"task", float("inf"))
                os._exit(1)
        while not stopping:
                scoreboard.beat()
                time.sleep(0.01)
"""


def account(family) -> list[int]:
    """Return (done, failed, retried, interrupted) of a family that has stopped."""
    [numbers] = family.lines("account")
    return [int(number) for number in numbers]


def test_an_account_sums_up_all_processes(launch):
    family = launch(processes=3, run=WORK)
    wait_until(lambda: len(family.children()) == 3, "all are ready")

    assert family.stop() == 0
    assert account(family) == [6, 3, 3, 0]


def test_idle_processes_have_done_nothing(launch):
    family = launch(processes=2)
    wait_until(lambda: len(family.children()) == 2, "all are ready")

    family.stop()

    assert account(family) == [0, 0, 0, 0]


def test_processes_that_were_replaced_count(launch):
    family = launch(run=LEAVE)
    wait_until(lambda: len(family.children()) >= 5, "it was replaced some times")

    family.stop()

    assert account(family)[0] == len(family.lines("stopped"))


def test_a_process_that_crashed_counts_with_the_report_on_its_task(launch):
    family = launch(run=CRASH, on_death="death.count(Ended.RETRIED)")
    wait_until(lambda: len(family.children()) == 2 and family.lines("died"), "the next one")

    family.stop()

    assert account(family) == [2, 0, 1, 0]


def test_tasks_that_are_killed_at_the_end_were_interrupted(launch):
    family = launch(processes=2, run=TASK)
    wait_until(lambda: len(family.children()) == 2, "all are ready")

    family.send(signal.SIGTERM)
    wait_until(lambda: "stopping: waiting for" in family.output, "it stops")
    family.send(signal.SIGTERM)
    family.wait()

    assert account(family) == [2, 0, 0, 2]


def test_a_reload_continues_the_account(launch):
    family = launch(processes=2, run=WORK)
    wait_until(lambda: len(family.children()) == 2, "all are ready")

    family.send(signal.SIGHUP)
    wait_until(lambda: len(family.lines("stopped")) == 2, "the old processes are replaced")
    wait_until(lambda: len(family.children()) == 4, "the new code works")
    family.stop()

    assert account(family) == [8, 4, 4, 0]


def test_an_older_release_has_left_no_account():
    account = Account()
    began = account.began

    account.load({})

    assert account.began == began
    assert account.tally == (0, 0, 0)


def test_an_account_survives_its_dump():
    old, new = Account(), Account()
    old.began -= 100
    old.tally = old.tally._replace(done=7)

    new.load(old.dump())

    assert new.tally == (7, 0, 0)
    assert new.seconds == pytest.approx(old.seconds, abs=1)
