"""Requests to cancel a task, and the kill of its process if it does not end."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_gearman.supervisor import CANCEL_SIGNAL, Phase, Scoreboard
from django_gearman.supervisor.cell import CANCEL_SECONDS, MAX_NAME
from django_gearman.supervisor.process import Process
from tests.support.gearmand import wait_until


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard(cells=2)
    yield made
    made.close()


@pytest.fixture
def process(board) -> Iterator[Process]:
    """A process that sleeps, as its parent sees it."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            time.sleep(60)
    ours, theirs = socket.socketpair()
    made = Process(pid, None, board, ours)
    send = made.send
    yield made
    send(signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # the test has waited for it
        os.waitpid(pid, 0)
    ours.close()
    theirs.close()


def test_a_request_is_for_the_task_that_runs_now(board):
    board.take(b"one", math.inf)
    assert board.request is None

    board.ask(board.began_at, "the id of one")

    name, asked_at = board.request
    assert name == "the id of one"
    assert board.overdue_at == asked_at + CANCEL_SECONDS
    other = Scoreboard(os.dup(board.descriptor))
    assert other.request == board.request, "of all processes"
    other.close()


def test_the_next_task_of_the_cell_is_not_meant(board):
    board.take(b"one", math.inf)
    began = board.began_at
    board.drop()
    board.take(b"two", math.inf)

    board.ask(began, "the id of one")

    assert board.request is None
    assert board.overdue_at == math.inf


def test_a_request_ends_with_its_task(board):
    board.take(b"one", math.inf)
    board.ask(board.began_at, "one")
    board.take(b"two", math.inf)

    assert board.request is None
    assert board.overdue_at == math.inf


def test_a_task_that_reports_its_outcome_has_the_time_for_that(board):
    board.take(b"one", math.inf)
    board.ask(board.began_at, "one")
    board.report(60)

    assert board.overdue_at > time.monotonic() + 30


def test_an_earlier_deadline_counts(board):
    soon = time.monotonic() + 1
    board.take(b"one", soon)
    board.ask(board.began_at, "one")

    assert board.overdue_at == soon


def test_cells_have_their_own_requests(board):
    board.take(b"one", math.inf)
    board.cell(1).take(b"two", math.inf)
    board.cell(1).ask(board.cell(1).began_at, "two")

    assert board.request is None
    assert board.cell(1).request[0] == "two"


def test_a_name_that_is_too_long_is_refused(board):
    board.take(b"one", math.inf)

    with pytest.raises(ValueError, match=f"at most {MAX_NAME} bytes"):
        board.ask(board.began_at, "x" * MAX_NAME)
    assert board.request is None


def test_the_signal_does_nothing_in_a_process_that_does_not_expect_it(process):
    os.kill(process.pid, CANCEL_SIGNAL)

    time.sleep(0.05)  # for a signal that would kill it
    assert os.waitpid(process.pid, os.WNOHANG) == (0, 0)


def test_a_process_with_an_overdue_task_is_killed(board, process):
    board.take(b"one", 0.0)

    assert process.enforce_deadlines(time.monotonic()) == []

    _, status = os.waitpid(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert process.overdue == {board.began_at}


@pytest.mark.parametrize("follows", [True, False])
def test_a_process_whose_task_has_just_ended_continues(board, process, monkeypatch, follows):
    board.take(b"one", 0.0)
    sent = []
    send = process.send

    def ends_before(number: int) -> None:
        if number == signal.SIGSTOP:
            board.drop()
            if follows:
                board.take(b"two", math.inf)
        sent.append(number)
        send(number)

    monkeypatch.setattr(process, "send", ends_before)
    process.enforce_deadlines(time.monotonic())

    assert sent == [signal.SIGSTOP, signal.SIGCONT]
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().split()[2] in "RS", "it goes on")
    assert not process.overdue
    assert board.phase is (Phase.RUNNING if follows else Phase.IDLE)


def test_a_process_that_is_stopped_already_is_killed(board, process):
    process.is_stopped = True
    os.kill(process.pid, signal.SIGSTOP)
    board.take(b"one", 0.0)

    process.enforce_deadlines(time.monotonic())

    os.waitpid(process.pid, 0)
