"""The supervisor, with real processes; each test runs one in a separate process."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.gearmand import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_every_process_finish(launch, number):
    family = launch(processes=3)
    wait_until(lambda: len(family.children()) == 3, "three processes")

    family.send(number)

    assert family.wait() == 0
    assert sorted(family.children("stopped")) == sorted(family.children("ready")), family.output


def test_a_signal_before_the_start_is_over_is_not_lost(launch):
    family = launch(start="say('starting', os.getpid()); time.sleep(0.5)")
    wait_until(lambda: family.children("starting"), "the start")

    assert family.stop() == 0


def test_a_signal_while_processes_are_started_reaches_them_all(launch):
    family = launch(processes=20)
    wait_until(family.children, "the first process")

    assert family.stop() == 0
    assert sorted(family.children("stopped")) == sorted(family.children("ready"))


def test_a_second_signal_kills(launch):
    family = launch(run="time.sleep(60)")
    wait_until(family.children, "the process")

    family.send(signal.SIGTERM)
    wait_until(lambda: family.process.poll() is None, "it still waits")
    time.sleep(0.1)  # two equal signals at once are one
    family.send(signal.SIGTERM)

    assert family.wait() == 0
    assert family.children("stopped") == []


def test_a_process_that_outlasts_the_grace_period_is_killed(launch):
    family = launch(run="time.sleep(60)", options="grace_period=0.3")
    wait_until(family.children, "the process")

    assert family.stop() == 0
    assert family.children("stopped") == []
    assert "stopping now" in family.output


def test_a_process_that_is_killed_is_replaced(launch):
    family = launch(processes=2)
    wait_until(lambda: len(family.children()) == 2, "two processes")
    victim = family.children()[0]

    os.kill(victim, signal.SIGKILL)

    wait_until(lambda: len(family.children()) == 3, "a third process")
    assert f"process {victim} was killed by SIGKILL" in family.output
    assert family.stop() == 0


def test_processes_that_die_at_once_are_replaced_more_and_more_slowly(launch):
    family = launch(run="raise RuntimeError('broken')")

    wait_until(lambda: len(family.children()) >= 4, "four tries")

    assert "RuntimeError: broken" in family.output
    for message in ("exited with 1; starting another one in 0.1 s", "in 0.2 s", "in 0.4 s"):
        assert message in family.output
    assert family.stop() == 0


def test_a_process_that_cannot_start_stops_the_whole(launch):
    family = launch(processes=2, start="raise ImportError('no such module')")

    assert family.wait() == 3

    assert "no such module" in family.output
    assert "could not start" in family.output


def test_no_exit_code_of_a_task_stops_the_whole(launch):
    family = launch(processes=2, run="os._exit(3)")

    wait_until(lambda: len(family.children()) >= 4, "they are replaced")

    assert "could not start" not in family.output
    assert family.stop() == 0


def test_a_process_that_ends_by_itself_is_replaced(launch):
    family = launch()
    victim = wait_until(family.children, "the process")[0]

    os.kill(victim, signal.SIGTERM)

    wait_until(lambda: len(family.children()) == 2, "another process")
    assert f"process {victim} exited with 0" in family.output
    assert family.stop() == 0


def test_a_process_that_leaves_is_replaced_without_a_word(launch):
    family = launch(run="scoreboard.leave()")

    wait_until(lambda: len(family.children()) >= 3, "three processes")

    assert family.stop() == 0
    assert "starting another one" not in family.output


def test_it_is_over_when_every_process_is_done(launch):
    family = launch(processes=3, run="scoreboard.done()")

    assert family.wait() == 0
    assert len(family.children("stopped")) == 3


def test_processes_die_with_their_parent(launch):
    family = launch(processes=2)
    wait_until(lambda: len(family.children()) == 2, "two processes")

    family.process.kill()
    family.process.wait()

    def are_gone() -> bool:
        return not any(os.path.exists(f"/proc/{child}/exe") for child in family.children())

    wait_until(are_gone, "the processes are gone")
    assert family.children("stopped") == []


# Tasks


def test_a_task_whose_process_died_is_reported_and_counted(launch):
    family = launch(
        run="scoreboard.take(b'poison', time.monotonic() + 60); os.kill(os.getpid(), 9)"
    )

    wait_until(lambda: len(family.lines("died")) >= 2, "two deaths")

    assert family.lines("died")[:2] == [
        ["poison", "1", "False", "was", "killed", "by", "SIGKILL", "NOTHING"],
        ["poison", "2", "False", "was", "killed", "by", "SIGKILL", "NOTHING"],
    ]
    assert "was killed by SIGKILL, while it ran poison; starting another one" in family.output
    assert family.stop() == 0


def test_a_task_that_is_overdue_costs_its_process(launch):
    # A loop in C: no signal handler of Python's would run.
    family = launch(
        run="scoreboard.take(b'endless', time.monotonic() + 0.3); "
        "import itertools; sum(itertools.repeat(1))"
    )

    wait_until(lambda: family.lines("died"), "the death")

    assert family.lines("died")[0][:3] == ["endless", "1", "True"]


@pytest.mark.parametrize(
    ("last", "reported"),
    [
        ("", "NOTHING"),
        ("; scoreboard.reported(Reported.NEXT)", "NEXT"),
        ("; scoreboard.reported(Reported.ALL)", "ALL"),
    ],
)
def test_a_death_while_its_end_is_reported_counts(launch, last, reported):
    run = (
        f"scoreboard.take(b'task', time.monotonic() + 60); scoreboard.report(60){last}; os._exit(1)"
    )
    family = launch(run=run)

    wait_until(lambda: len(family.lines("died")) >= 2, "two deaths")

    assert [(line[1], line[-1]) for line in family.lines("died")[:2]] == [
        ("1", reported),
        ("2", reported),
    ]
    assert family.stop() == 0


def test_a_finished_task_is_not_reported(launch):
    family = launch(
        run="scoreboard.take(b'task', time.monotonic() + 60); scoreboard.drop(); os._exit(1)"
    )

    wait_until(lambda: len(family.children()) >= 2, "the process is replaced")

    assert family.lines("died") == []
    assert family.stop() == 0


def test_a_task_killed_at_the_end_of_the_grace_period_is_left_to_others(launch):
    family = launch(
        run="scoreboard.take(b'task', time.monotonic() + 60); say('took'); time.sleep(60)",
        options="grace_period=0.2",
    )
    wait_until(lambda: family.lines("took"), "the task")

    assert family.stop() == 0
    assert family.lines("died") == []
    assert "stopping: waiting for task, at most 0.2 s" in family.output
    assert "interrupted, to run again on another worker: task" in family.output


# New code


def test_sighup_replaces_processes_one_by_one_by_new_code(launch):
    family = launch(processes=3)
    wait_until(lambda: len(family.children()) == 3, "three processes")
    old = family.children()
    family.program.write_text(family.program.read_text().replace("VERSION = 1", "VERSION = 2"))

    family.send(signal.SIGHUP)

    wait_until(lambda: len(family.children("stopped")) == 3, "the old ones are gone")
    assert sorted(family.children("stopped")) == sorted(old)
    assert [version for _, version in family.lines("ready")] == ["1"] * 3 + ["2"] * 3
    said = [
        line.split()[0] for line in family.output.splitlines() if line[:5] in ("ready", "stopp")
    ]
    serving = 0
    for word in said:
        serving += 1 if word == "ready" else -1
        assert serving >= 3 or said.index("ready") < 3
    assert family.process.poll() is None, "the same process goes on"
    assert family.stop() == 0


def test_code_that_cannot_start_replaces_nothing(launch):
    family = launch()
    wait_until(family.children, "the process")
    family.program.write_text("this is no program")

    family.send(signal.SIGHUP)

    wait_until(lambda: "Reload failed" in family.output, "the reload fails")
    assert family.stop() == 0
    assert len(family.children()) == 1


def test_a_task_of_an_adopted_process_is_minded_still(launch):
    family = launch(run="scoreboard.take(b'long', time.monotonic() + 4); time.sleep(60)")
    wait_until(family.children, "the process")
    family.program.write_text(
        family.program.read_text().replace("time.sleep(60)", "scoreboard.drop()")
    )

    family.send(signal.SIGHUP)

    wait_until(lambda: family.lines("died"), "the death")
    assert family.lines("died")[0][:3] == ["long", "1", "True"]


def test_sigquit_shows_where_every_process_is(launch):
    family = launch(processes=2)
    wait_until(lambda: len(family.children()) == 2, "two processes")

    family.send(signal.SIGQUIT)

    messages = [f"traceback of process {child}:" for child in family.children()]
    wait_until(lambda: all(each in family.output for each in messages), "each is named")
    wait_until(lambda: family.output.count("in run\n") >= 3, "the tracebacks")
    assert family.stop() == 0
