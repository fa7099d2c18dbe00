"""A supervisor whose system has too little of something, or whose processes and callbacks misbehave."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.support.gearmand import wait_until

# The next `left` calls of a function fail, in the supervisor alone.
FAIL = """
import errno, socket
from django_gearman.supervisor import forking, process, scoreboard

left, supervisor = [{left}], os.getpid()

def failing(real):
    def call(*args, **kwargs):
        if os.getpid() == supervisor and {when} and left[0] > 0:
            left[0] -= 1
            say("failed", left[0])
            raise OSError({code}, "no room")
        return real(*args, **kwargs)
    return call

{what} = failing({what})
"""


def failing(what: str, left: int, code: int = errno.EAGAIN, when: str = "True") -> str:
    return FAIL.format(what=what, left=left, code=code, when=when)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("os.fork", errno.EAGAIN),
        ("os.fork", errno.ENOMEM),
        ("socket.socketpair", errno.EMFILE),
        ("os.memfd_create", errno.ENFILE),
        ("os.ftruncate", errno.ENOSPC),
        ("scoreboard.mmap.mmap", errno.ENOMEM),
    ],
)
def test_a_shortage_at_the_start_of_a_process_is_tried_again(launch, what, code):
    family = launch(processes=2, before=failing(what, 5, code))

    wait_until(lambda: len(family.children()) == 2, "two processes")

    assert len(family.lines("failed")) == 5
    assert "no room; trying again in 0.1 s" in family.output
    assert "no room; trying again in 0.2 s" in family.output
    assert family.stop() == 0


def test_others_serve_while_a_process_cannot_be_forked(launch, tmp_path):
    marker = tmp_path / "no-more"
    family = launch(
        processes=2, before=failing("os.fork", 4, when=f"os.path.exists({str(marker)!r})")
    )
    wait_until(lambda: len(family.children()) == 2, "two processes")
    first, second = family.children()
    marker.touch()
    os.kill(first, signal.SIGKILL)

    wait_until(lambda: family.lines("failed"), "a failure")
    os.kill(second, 0)
    wait_until(lambda: len(family.children()) == 3, "a third process")
    assert len(family.lines("failed")) == 4
    os.kill(second, 0)
    assert family.stop() == 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def forked(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_processes_wait_for_descriptors(launch):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096))"
    family = launch(processes=20, before=limit)
    wait_until(lambda: "Too many open files; trying again" in family.output, "a failure")
    few = len(forked(family.process.pid))
    assert 0 < few < 20
    wait_until(lambda: len(family.children()) == few, "those that could be forked")
    victim = family.children()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(family.children()) > few, "it is replaced all the same")

    resource.prlimit(family.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))

    wait_until(lambda: len(family.children()) == 21, "all serve")
    assert family.stop() == 0
    assert len(family.children("stopped")) == 20


def test_a_connection_that_cannot_be_shared_is_reported(launch):
    family = launch(
        start="import socket; from django_gearman.supervisor import send_socket, wake_parent\n"
        "    opened = socket.socketpair()\n"
        "    for n in range(30):\n"
        "        send_socket(channel, f'socket {n}', opened[0]); wake_parent(channel); time.sleep(0.02)",
        before="import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096))",
    )
    child = wait_until(family.children, "the process")[0]

    wait_until(
        lambda: f"left to share a connection of process {child}" in family.output, "a warning"
    )
    assert family.stop() == 0


def test_failures_leave_no_descriptor_open(launch):
    family = launch(processes=1, before=failing("os.fork", 4))
    wait_until(family.children, "the process")
    other = launch(processes=1)
    wait_until(other.children, "the process")

    wait_until(
        lambda: descriptors(family.process.pid) == descriptors(other.process.pid),
        "as many open as in a supervisor whose forks never failed",
    )
    assert family.stop() == other.stop() == 0


@pytest.mark.parametrize("error", ["OSError(11, 'no room')", "OSError(24, 'x')", "MemoryError()"])
def test_a_process_that_has_no_room_to_start_is_tried_again(launch, tmp_path, error):
    marker = tmp_path / "started"
    start = f"if not os.path.exists({str(marker)!r}): open({str(marker)!r}, 'w'); raise {error}"

    family = launch(start=start)

    wait_until(family.children, "the process")
    assert "could not start" not in family.output
    assert family.stop() == 0


def test_a_slot_that_had_a_process_gets_another_one_whatever_its_start_raises(launch, tmp_path):
    marker = tmp_path / "broken"
    start = (
        f"if os.path.exists({str(marker)!r}): os.unlink({str(marker)!r}); raise ValueError('no')"
    )
    family = launch(processes=2, start=start)
    wait_until(lambda: len(family.children()) == 2, "two processes")
    time.sleep(1.0)  # the supervisor has looked at both

    marker.touch()
    os.kill(family.children()[0], signal.SIGKILL)

    wait_until(lambda: len(family.children()) == 3, "a third process")
    assert "ValueError: no" in family.output
    assert family.stop() == 0


def test_processes_that_cannot_live_for_days_are_still_replaced():
    from django_gearman.supervisor.forking import delay_after

    assert [delay_after(n) for n in (1, 2, 9, 10, 5000)] == [0.1, 0.2, 25.6, 30, 30]


# Reports

WAIT_TOO = """
        while not stopping:
            time.sleep(0.01)
"""
DIE_ONCE = """
        if not os.path.exists("{0}"):
            open("{0}", "w")
            scoreboard.take(b"poison", time.monotonic() + 60)
            os.kill(os.getpid(), 9)
        while not stopping:
            scoreboard.beat()
            time.sleep(0.01)
"""


def test_a_report_that_cannot_be_forked_is_tried_again(launch, tmp_path):
    dead = "(sys._getframe(2).f_code.co_name == 'spawn_once')"
    family = launch(run=DIE_ONCE.format(tmp_path / "died"), before=failing("os.fork", 3, when=dead))

    wait_until(lambda: family.lines("died"), "the report")

    assert len(family.lines("failed")) == 3
    assert "cannot report on poison, which killed its process: [Errno 11]" in family.output
    assert [line[:2] for line in family.lines("died")] == [["poison", "1"]]
    assert family.stop() == 0


def test_a_report_that_hangs_does_not_keep_the_supervisor(launch, tmp_path):
    family = launch(
        run=DIE_ONCE.format(tmp_path / "died"),
        on_death="time.sleep(600)",
        options="grace_period=0.5",
    )
    wait_until(lambda: family.lines("died"), "the report")

    assert family.stop() == 0
    assert "stopping now" in family.output


def test_a_second_signal_kills_reports(launch, tmp_path):
    family = launch(run=DIE_ONCE.format(tmp_path / "died"), on_death="time.sleep(600)")
    wait_until(lambda: family.lines("died"), "the report")
    wait_until(lambda: len(family.children()) == 2, "the process is replaced")

    family.send(signal.SIGTERM)
    wait_until(lambda: family.children("stopped"), "the process has stopped")
    assert family.process.poll() is None
    family.send(signal.SIGTERM)

    assert family.wait() == 0


def test_a_report_has_a_limit(launch, tmp_path):
    family = launch(
        run=DIE_ONCE.format(tmp_path / "died"),
        on_death="signal.pthread_sigmask(signal.SIG_BLOCK, [15]); time.sleep(600)",
        before="from django_gearman.supervisor import reporters; reporters.REPORTER_SECONDS = 0.5",
    )

    wait_until(lambda: "took more than 0.5 s and was killed" in family.output, "it is killed")

    assert family.stop() == 0


# Processes and callbacks that misbehave


def test_a_process_that_reports_for_long_is_killed(launch):
    family = launch(
        run="scoreboard.take(b'task', float('inf')); scoreboard.report(0.3); time.sleep(600)"
    )

    wait_until(lambda: len(family.children()) >= 2, "it is replaced")

    assert "killed: it exceeded its time limit" in family.output
    assert family.stop() == 0


def test_a_stopped_process_is_reported_and_not_counted_on(launch):
    family = launch(
        run="scoreboard.take(b'task', float('inf'))" + WAIT_TOO,
        options="report=lambda status: say('serving', status.serving)",
    )
    wait_until(lambda: ["1"] in family.lines("serving"), "it serves")
    child = family.children()[0]

    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: family.lines("serving")[-1] == ["0"], "it does not serve")
    assert f"process {child} is stopped by signal " in family.output
    os.kill(child, signal.SIGCONT)
    wait_until(lambda: family.lines("serving")[-1] == ["1"], "it serves again")

    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: family.lines("serving")[-1] == ["0"], "it does not serve")
    assert family.stop() == 0, "a stopped process finishes"


def test_a_callback_that_raises_ends_nothing(launch):
    family = launch(
        run="scoreboard.take(b'task', time.monotonic() + 60); say('took')" + WAIT_TOO,
        options="report=lambda status: 1 / 0, grace_period=5",
    )
    wait_until(lambda: "ZeroDivisionError" in family.output, "it is logged")
    time.sleep(1.5)

    assert family.output.count("ZeroDivisionError") == 1, "once"
    assert family.stop() == 0
    assert len(family.children("stopped")) == 1


def test_a_task_that_cannot_be_described_is_a_task(launch):
    family = launch(run="scoreboard.take(b'\\xff', float('inf')); say('took')" + WAIT_TOO)
    wait_until(lambda: family.lines("took"), "the task")

    assert family.stop() == 0
    assert "stopping: waiting for a task" in family.output
    assert len(family.children("stopped")) == 1


def test_many_processes_that_die_at_once_are_replaced(launch):
    family = launch(processes=20)
    wait_until(lambda: len(family.children()) == 20, "twenty processes")

    for child in family.children():
        os.kill(child, signal.SIGKILL)

    wait_until(lambda: len(family.children()) == 40, "twenty others")
    assert family.stop() == 0
    assert len(family.children("stopped")) == 20


def test_a_process_killed_before_it_has_started_is_replaced(launch):
    family = launch(start="say('starting', os.getpid()); time.sleep(0.3)")
    victim = wait_until(lambda: family.children("starting"), "the start")[0]

    os.kill(victim, signal.SIGKILL)

    wait_until(family.children, "another process")
    assert family.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGCHLD, signal.SIGWINCH])
def test_signals_that_mean_nothing_change_nothing(launch, number):
    family = launch(before="signal.signal(signal.SIGPIPE, signal.SIG_DFL)")
    wait_until(family.children, "the process")

    family.send(number)
    time.sleep(0.3)

    assert family.process.poll() is None
    assert family.stop() == 0


def test_nohup_outlives_its_terminal(launch):
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    family = launch(
        before=ignore, run="say('hup', signal.getsignal(1) is signal.SIG_IGN)" + WAIT_TOO
    )
    wait_until(lambda: family.lines("hup"), "the process")

    family.send(signal.SIGHUP)
    time.sleep(0.5)

    assert family.lines("hup") == [["True"]], "a job's programs ignore it, too"
    assert "checking" not in family.output
    assert family.stop() == 0


# New code


def test_new_code_waits_for_room_for_its_check(launch, tmp_path):
    family = launch(
        before="import subprocess\n"
        + failing("subprocess.Popen", 3, when="sys._getframe(1).f_code.co_name == '_check_code'")
    )
    wait_until(family.children, "the process")

    family.send(signal.SIGHUP)

    wait_until(lambda: len(family.children()) == 2, "the new code serves")
    assert family.output.count("the reload must wait: [Errno 11] no room; trying again") == 3
    assert family.stop() == 0


def test_new_code_waits_for_room_to_take_over(launch):
    family = launch(before=failing("os.execvpe", 2, errno.ENOMEM))
    wait_until(family.children, "the process")

    family.send(signal.SIGHUP)

    wait_until(lambda: len(family.children()) == 2, "the new code serves")
    assert family.output.count("the reload must wait: [Errno 12] no room; trying again") == 2
    assert family.stop() == 0


def test_new_code_waits_for_reports(launch, tmp_path):
    family = launch(
        run=DIE_ONCE.format(tmp_path / "died"),
        on_death="time.sleep(2); say('reported')",
    )
    wait_until(lambda: family.lines("died"), "the report")
    wait_until(lambda: len(family.children()) == 2, "it is replaced")

    family.send(signal.SIGHUP)

    wait_until(lambda: len(family.children()) == 3, "the new code serves")
    output = family.output
    assert output.index("reported") < output.rindex("ready")
    assert family.stop() == 0
