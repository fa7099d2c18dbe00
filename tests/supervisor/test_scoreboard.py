from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.supervisor.scoreboard import MAX_TASK, Ended, Phase, Scoreboard, Stage, Tally


@pytest.fixture
def scoreboard():
    made = Scoreboard()
    yield made
    made.close()


@contextlib.contextmanager
def due_in(scoreboard: Scoreboard, seconds: float) -> Iterator[None]:
    """Check that the deadline is set in the block, to so many seconds later."""
    before = time.monotonic()
    yield
    assert before + seconds <= scoreboard.deadline <= time.monotonic() + seconds


def test_a_new_board_tells_of_nothing(scoreboard):
    assert (scoreboard.stage, scoreboard.phase, scoreboard.task) == (
        Stage.STARTING,
        Phase.IDLE,
        b"",
    )
    assert scoreboard.deadline == math.inf
    assert scoreboard.beat_at == -math.inf


def test_a_scoreboard_keeps_the_state_of_a_dead_process(scoreboard):
    pid = os.fork()
    if pid == 0:
        scoreboard.start()
        scoreboard.beat()
        scoreboard.take(b"task", 123.0)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)

    assert (scoreboard.stage, scoreboard.phase, scoreboard.task) == (
        Stage.STARTED,
        Phase.RUNNING,
        b"task",
    )
    assert scoreboard.deadline == 123.0
    assert 0 <= time.monotonic() - scoreboard.beat_at < 60


@given(tasks=st.lists(st.binary(max_size=200), max_size=5))
def test_the_last_task_is_the_one_current(tasks):
    scoreboard = Scoreboard()
    for task in tasks:
        scoreboard.take(task, math.inf)
    assert scoreboard.task == (tasks[-1] if tasks else b"")
    scoreboard.close()


def test_a_task_may_be_large(scoreboard):
    scoreboard.take(b"x" * MAX_TASK, math.inf)

    assert scoreboard.task == b"x" * MAX_TASK


def test_reporting_a_task_has_the_tasks_deadline(scoreboard):
    deadline = time.monotonic() + 1000
    scoreboard.take(b"task", deadline)
    scoreboard.report(60)

    assert (scoreboard.task, scoreboard.phase, scoreboard.deadline) == (
        b"task",
        Phase.REPORTING,
        deadline,
    )
    scoreboard.drop()
    assert (scoreboard.task, scoreboard.deadline) == (b"", math.inf)


def test_reporting_a_task_has_some_time_at_least(scoreboard):
    scoreboard.take(b"task", time.monotonic() + 1)
    with due_in(scoreboard, 5):
        scoreboard.report(60, at_least=5)


def test_reporting_a_task_without_a_deadline_has_one(scoreboard):
    scoreboard.take(b"task", math.inf)
    with due_in(scoreboard, 60):
        scoreboard.report(60)

    scoreboard.take(b"next", math.inf)
    assert scoreboard.deadline == math.inf


def test_leaving_has_a_deadline_without_a_task(scoreboard):
    with due_in(scoreboard, 10):
        scoreboard.leave_within(10)

    assert scoreboard.is_ending


def test_another_program_reads_it_by_its_descriptor(scoreboard):
    scoreboard.take(b"task", 5.0)
    again = Scoreboard(os.dup(scoreboard.descriptor))

    assert (again.task, again.deadline) == (b"task", 5.0)
    again.close()


def test_a_board_counts_the_tasks_that_ended(scoreboard):
    assert scoreboard.tally == Tally(0, 0, 0)

    for ended in (Ended.DONE, Ended.RETRIED, Ended.DONE, Ended.FAILED, Ended.DONE):
        scoreboard.count(ended)
    scoreboard.take(b"a task of any length " * 100, 123.0)

    assert scoreboard.tally == Tally(done=3, failed=1, retried=1)
    with_another = Scoreboard(os.dup(scoreboard.descriptor))
    assert with_another.tally == scoreboard.tally
    with_another.close()


def test_a_traceback_is_behind_the_board_and_taken_once(scoreboard):
    scoreboard.take(b"task", 123.0)
    pid = os.fork()
    if pid == 0:
        scoreboard.write_traceback_on(signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        os._exit(0)
    os.waitpid(pid, 0)

    size, text = scoreboard.text_size, scoreboard.take_text()

    assert len(text) == size > 0
    assert text.count("most recent call first") == 2
    assert "test_a_traceback_is_behind_the_board_and_taken_once" in text
    assert (scoreboard.text_size, scoreboard.take_text()) == (0, "")
    assert scoreboard.task == b"task"
