"""The numbers of processes: small ones, which no two live processes share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.gearmand import wait_until

SAYS = "in_child=lambda number: say('number', os.getpid(), number)"
LEAVE = """
        time.sleep(0.01)
        scoreboard.leave()
"""
DIE_ONCE = """
        if not os.path.exists(sys.argv[0] + ".died"):
            open(sys.argv[0] + ".died", "w").close()
            scoreboard.take(b"poison", float("inf"))
            os.kill(os.getpid(), 9)
        while not stopping:
            scoreboard.beat()
            time.sleep(0.01)
"""


def numbers(family) -> list[int]:
    """Return the numbers in the order in which they were given."""
    return [int(words[1]) for words in family.lines("number")]


def test_each_process_has_a_number_of_its_own(launch):
    family = launch(processes=4, options=SAYS)

    wait_until(lambda: len(family.children()) == 4, "all are ready")

    assert sorted(numbers(family)) == [1, 2, 3, 4]
    assert family.stop() == 0


def test_a_process_takes_the_number_of_the_one_that_it_replaces(launch):
    family = launch(processes=3, options=SAYS)
    wait_until(lambda: len(family.children()) == 3, "all are ready")

    killed = family.children()[1]

    os.kill(killed, signal.SIGKILL)

    wait_until(lambda: len(family.children()) == 4, "another one")
    assert numbers(family)[3] == int(dict(family.lines("number"))[str(killed)])
    assert family.stop() == 0


def test_numbers_do_not_grow_with_the_processes_that_leave(launch):
    family = launch(processes=2, options=SAYS, run=LEAVE)

    wait_until(lambda: len(numbers(family)) >= 30, "thirty processes")

    assert {*numbers(family)} == {1, 2}
    assert family.stop() == 0


def test_new_processes_after_a_reload_share_no_number_with_those_before(launch):
    family = launch(processes=3, options=SAYS)
    wait_until(lambda: len(family.children()) == 3, "all are ready")
    family.program.write_text(family.program.read_text().replace("VERSION = 1", "VERSION = 2"))

    family.send(signal.SIGHUP)

    # One new process at a time is beside three old ones.
    wait_until(lambda: len(family.lines("stopped")) == 3, "the old ones end")
    first, *others = numbers(family)[3:]
    assert first == 4, "the first one starts while the old ones have 1, 2 and 3"
    assert {*others} <= {1, 2, 3, 4}

    def live() -> list[str]:
        given = family.lines("number")
        return [number for pid, number in given if Path(f"/proc/{pid}").exists()]

    found = live()
    assert len({*found}) == len(found)
    wait_until(lambda: len(live()) == 3, "the old ones are gone")
    assert family.stop() == 0


def test_the_report_on_a_dead_process_has_its_number_which_nobody_else_gets_meanwhile(launch):
    ends = "while not os.path.exists(sys.argv[0] + '.go'): time.sleep(0.01)"
    family = launch(options=SAYS, run=DIE_ONCE, on_death=ends)

    wait_until(lambda: family.lines("died") and len(family.children()) == 2, "report and process")

    of_pid = dict(family.lines("number"))
    second = of_pid.pop(str(family.children()[1]))
    assert [*of_pid.values()] == ["1", "1"], "of the dead process, and of the report on it"
    assert second == "2"
    Path(f"{family.program}.go").touch()
    assert family.stop() == 0


def test_an_attendant_sees_the_numbers_the_status_and_the_deaths(launch):
    family = launch(
        processes=2,
        before=(
            "from django_gearman.supervisor import Service, attendant_slot\n"
            "def look(attendant):\n"
            "    with attendant.overview() as found:\n"
            "        names = sorted(f'{p.number}{p.name[:4]}' for p in found.processes)\n"
            "        say('seen', *names, found.status.serving, found.status.wanted, found.deaths)\n"
        ),
        slots="attendant_slot([Service('look', look, 0.05)])",
    )
    wait_until(lambda: len(family.children()) == 2, "all are ready")
    whole = ["1slot", "2slot", "3atte", "2", "2"]
    wait_until(lambda: [*whole, "{}"] in family.lines("seen"), "both serve")

    os.kill(family.children()[0], signal.SIGKILL)

    died = [*whole, "{'SIGKILL':", "1}"]
    wait_until(lambda: died in family.lines("seen"), "the death is counted, and both serve again")
    family.send(signal.SIGHUP)
    wait_until(lambda: len(family.lines("stopped")) == 2, "a reload")
    wait_until(lambda: family.lines("seen")[-1][-1] == "1}", "it is still known")
    assert family.stop() == 0
