"""The last things that a process does before it ends."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.gearmand import wait_until

# An error reporter, as they are: a thread sends what it is given, and the exit waits for that.
REPORTER = """
import atexit, queue, threading

events = queue.Queue()

def send():
    while True:
        event = events.get()
        time.sleep(0.05)
        say("event", event)
        events.task_done()

def report(event):
    threading.Thread(target=send, daemon=True).start()
    events.put(event)

atexit.register(lambda: (events.join(), say("flushed", os.getpid())))
"""
HANGING = """
import atexit

atexit.register(lambda: os.path.exists("{0}") or time.sleep(600))
"""


def test_a_process_that_leaves_runs_what_is_registered_for_its_exit(launch):
    family = launch(before=REPORTER, run="report(os.getpid()); scoreboard.leave()")

    wait_until(lambda: len(family.children()) >= 3, "three processes")

    assert family.stop() == 0
    started = family.children()
    assert [int(event) for [event] in family.lines("event")] == started
    flushed = family.children("flushed")
    assert sorted(flushed) == sorted([*started, family.process.pid]), "each once"


@pytest.mark.parametrize("run", ["report(1)", "report(1); raise ValueError(1)", "report(1); 1 / 0"])
def test_so_does_one_that_is_done_or_fails(launch, run):
    family = launch(before=REPORTER, run=run)

    wait_until(lambda: family.lines("event"), "the event")

    assert family.stop() == 0


def test_so_does_one_that_cannot_start(launch):
    family = launch(before=REPORTER, start="report(1); raise ValueError('no')")

    assert family.wait() == 3
    assert family.lines("event") == [["1"]]


def test_so_does_one_that_reports_a_death(launch, tmp_path):
    marker = tmp_path / "died"
    family = launch(
        before=REPORTER,
        run=f"first = not os.path.exists({str(marker)!r}); open({str(marker)!r}, 'w').close(); "
        "first and (scoreboard.take(b'task', time.monotonic() + 60), os.kill(os.getpid(), 9)); "
        "scoreboard.done()",
        on_death="report('a death')",
    )

    assert family.wait() == 0
    assert family.lines("event") == [["a", "death"]]


def test_threads_are_waited_for(launch):
    run = (
        "import threading; "
        "threading.Thread(target=lambda: (time.sleep(0.5), say('thread'))).start(); scoreboard.done()"
    )

    family = launch(run=run)

    assert family.wait() == 0
    assert family.lines("thread") == [[]]


@pytest.mark.parametrize("leave", ["scoreboard.leave()", "scoreboard.done()"])
def test_an_exit_that_hangs_is_killed(launch, tmp_path, leave):
    marker = tmp_path / "marker"
    family = launch(
        before="from django_gearman.supervisor import process; process.LEAVE_SECONDS = 0.5\n"
        + HANGING.format(marker),
        run=leave,
    )

    wait_until(
        lambda: "was killed: it did not exit in time" in family.output, "the process is killed"
    )
    if "leave" in leave:
        wait_until(lambda: len(family.children()) >= 2, "it is replaced at once")
    marker.touch()
    assert family.stop() == 0
    assert "starting another one" not in family.output


def test_an_exit_that_hangs_does_not_keep_the_supervisor(launch, tmp_path):
    marker = tmp_path / "marker"
    family = launch(
        before=HANGING.format(marker),
        options="grace_period=0.5",
    )
    wait_until(family.children, "the process")

    family.send(signal.SIGTERM)
    wait_until(lambda: "stopping now" in family.output, "it is killed")
    marker.touch()

    assert family.wait() == 0


def test_files_of_the_parent_are_left_to_it(launch):
    family = launch(
        before="import tempfile, multiprocessing\n"
        "scratch = tempfile.TemporaryDirectory()\n"
        "fork = multiprocessing.get_context('fork')\n"
        "helper = fork.Process(target=time.sleep, args=[600], daemon=True)\n"
        "helper.start(); say('helper', helper.pid)\n",
        run="scoreboard.leave()",
        options="report=lambda status: say('there', os.path.isdir(scratch.name), helper.is_alive())",
    )
    wait_until(lambda: len(family.children()) >= 3, "three processes")
    count = len(family.lines("there"))
    wait_until(lambda: len(family.lines("there")) > count + 1, "the parent has looked")

    assert set(map(tuple, family.lines("there"))) == {("True", "True")}
    os.kill(family.children("helper")[0], 0)
    assert family.stop() == 0


def test_a_temporary_directory_of_the_process_is_removed(launch, tmp_path):
    family = launch(
        run=f"import tempfile; held.append(tempfile.TemporaryDirectory(dir={str(tmp_path)!r})); "
        "say('made', held[0].name); scoreboard.done()",
        before="held = []",
    )

    assert family.wait() == 0
    assert not os.path.exists(family.lines("made")[0][0])


IN_CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes containers")
def test_the_first_process_of_a_container_reaps_all(launch):
    """A task's program leaves a child, which ends without a parent."""
    orphan = "sh -c '(sleep 0.2; exit 3) & exit 0'"
    family = launch(
        command=IN_CONTAINER,
        run=f'os.system("{orphan}"); '
        "time.sleep(1.5); "
        "say('zombies', sum(open(f'/proc/{pid}/stat').read().split()[2] == 'Z' "
        "for pid in os.listdir('/proc') if pid.isdigit())); scoreboard.done()",
        options="report=lambda status: say('pid', os.getpid())",
    )

    assert family.wait() == 0
    assert family.lines("pid")[0] == ["1"]
    assert family.lines("zombies") == [["0"]]
