"""The attendant beside the processes of a supervisor, with real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from django_gearman.supervisor import Service
from tests.support.gearmand import wait_until

# Two services: one that counts its turns, and another one.
BEFORE = """
from django_gearman.supervisor import Service, attendant_slot

class Counter:
    turns = 0

    def turn(self, attendant):
        self.turns += 1
        say("turn", os.getpid(), self.turns, VERSION)

def other(attendant):
    OTHER

tidied = lambda failed: say("tidied", os.getpid(), failed)
services = [Service("counter", Counter().turn, 0.05), Service("other", other, 0.05)]
"""


@pytest.fixture
def attend(launch):
    def make(other: str = "pass", **program: object):
        before = BEFORE.replace("OTHER", other)
        slots = "attendant_slot(services, tidied)"
        return launch(**{"before": before, "slots": slots, **program})

    return make


def ticks(family) -> list[int]:
    return family.children("turn")


def test_services_run_again_and_again_in_a_process_beside_the_workers(attend):
    family = attend()

    wait_until(lambda: len(ticks(family)) >= 3, "three turns")

    [attendant] = {*ticks(family)}
    assert attendant not in family.children()
    turns = [int(words[1]) for words in family.lines("turn")]
    assert turns == sorted(turns), "the service keeps its state"
    assert Path(f"/proc/{attendant}/comm").read_text() == "attendant\n"
    assert family.stop() == 0


def test_one_failing_service_is_logged_once_and_stops_no_other(attend):
    family = attend("raise SystemExit('broken')")

    wait_until(lambda: len(ticks(family)) >= 20, "twenty turns of the other service")

    assert family.output.count("service other failed; it will run again") == 1
    assert "SystemExit: broken" in family.output
    assert "True" in {words[1] for words in family.lines("tidied")}
    assert family.stop() == 0


def test_a_service_that_recovers_is_logged(attend):
    family = attend(
        "Counter.failures = getattr(Counter, 'failures', 0) + 1; assert Counter.failures > 2"
    )

    wait_until(lambda: "service other works again" in family.output, "its recovery")

    assert family.output.count("service other failed") == 1
    assert family.stop() == 0


def test_an_attendant_that_dies_is_replaced_and_the_workers_continue(attend):
    family = attend()
    [first] = wait_until(lambda: {*ticks(family)}, "a turn")

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: {*ticks(family)} - {first}, "another attendant")
    assert f"attendant: process {first} was killed by SIGKILL" in family.output
    assert len(family.children()) == 1, "the worker was not replaced"
    assert family.stop() == 0


def test_an_attendant_that_cannot_start_does_not_stop_the_workers(launch):
    family = launch(
        before="def broken(*_): raise ImportError('no such module')",
        slots="Slot('attendant', broken, is_attendant=True)",
    )

    wait_until(lambda: "starting another one in 0.4 s" in family.output, "growing delays")

    assert len(family.children()) == 1
    assert family.stop() == 0


def test_the_attendant_outlives_the_workers_and_then_stops(attend):
    family = attend(run="while not stopping: time.sleep(0.01)\n        time.sleep(0.5)")
    wait_until(lambda: ticks(family) and family.children(), "both")

    assert family.stop() == 0

    lines = [line.split()[0] for line in family.output.splitlines()]
    stopping = lines.index("stopped")
    assert "turn" in lines[stopping - 5 : stopping], family.output


def test_a_service_that_hangs_does_not_hold_up_the_end(attend):
    family = attend("say('hangs'); time.sleep(60)")
    wait_until(lambda: "hangs" in family.output, "the service")

    assert family.stop() == 0

    assert "service other did not stop in 5 s" in family.output


def test_a_reload_replaces_the_attendant_with_one_of_the_new_code(attend):
    family = attend()
    wait_until(lambda: ticks(family), "a turn")
    family.program.write_text(family.program.read_text().replace("VERSION = 1", "VERSION = 2"))

    family.send(signal.SIGHUP)

    wait_until(lambda: any(words[2] == "2" for words in family.lines("turn")), "the new code")
    new = family.lines("turn")
    first_new = next(place for place, words in enumerate(new) if words[2] == "2")
    assert {words[2] for words in new[first_new:]} == {"2"}, "never two at a time"
    assert family.stop() == 0


def test_the_attendant_ends_with_its_supervisor(attend):
    family = attend()
    [attendant] = wait_until(lambda: {*ticks(family)}, "a turn")

    family.process.kill()

    wait_until(lambda: not Path(f"/proc/{attendant}").exists(), "its end")


def test_a_service_sees_the_scoreboards_of_processes_that_started_after_it(attend):
    family = attend(
        "\n    with attendant.processes() as seen:"
        "\n        for each in seen:"
        "\n            if each.is_worker: say('seen', each.pid, each.scoreboard.task.decode())",
        run="scoreboard.take(b'task-%d' % os.getpid(), float('inf'))\n"
        "        while not stopping: time.sleep(0.01)",
    )
    first = wait_until(family.children, "the worker")[0]
    wait_until(lambda: [str(first), f"task-{first}"] in family.lines("seen"), "its task")

    os.kill(first, signal.SIGKILL)

    second = wait_until(lambda: family.children()[1:], "another worker")[0]
    wait_until(lambda: [str(second), f"task-{second}"] in family.lines("seen"), "its task")
    assert family.stop() == 0


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf")])
def test_a_service_needs_an_interval(every):
    with pytest.raises(ValueError, match="is not a number of seconds"):
        Service("prune", lambda attendant: None, every)
