from __future__ import annotations

import math
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.supervisor.scoreboard import MAX_TASK, Phase, Scoreboard, Stage


@pytest.fixture
def board():
    made = Scoreboard()
    yield made
    made.close()


def test_a_new_board_tells_of_nothing(board):
    assert (board.stage, board.phase, board.task) == (Stage.STARTING, Phase.IDLE, b"")
    assert board.deadline == math.inf
    assert board.beat_at == -math.inf


def test_what_a_process_writes_is_there_after_its_death(board):
    pid = os.fork()
    if pid == 0:
        board.start()
        board.beat()
        board.take(b"task", 123.0)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)

    assert (board.stage, board.phase, board.task) == (Stage.STARTED, Phase.RUNNING, b"task")
    assert board.deadline == 123.0
    assert 0 <= time.monotonic() - board.beat_at < 60


@given(tasks=st.lists(st.binary(max_size=200), max_size=5))
def test_the_last_task_is_the_one_in_hand(tasks):
    board = Scoreboard()
    for task in tasks:
        board.take(task, math.inf)
    assert board.task == (tasks[-1] if tasks else b"")
    board.close()


def test_a_task_may_be_large(board):
    board.take(b"x" * MAX_TASK, math.inf)

    assert board.task == b"x" * MAX_TASK


def test_reporting_a_task_has_the_tasks_deadline(board):
    deadline = time.monotonic() + 1000
    board.take(b"task", deadline)
    board.report(60)

    assert (board.task, board.phase, board.deadline) == (b"task", Phase.REPORTING, deadline)
    board.drop()
    assert (board.task, board.deadline) == (b"", math.inf)


def test_reporting_a_task_has_some_time_at_least(board):
    board.take(b"task", time.monotonic() + 1)
    board.report(60, at_least=5)

    assert 4 < board.deadline - time.monotonic() <= 5


def test_reporting_a_task_without_a_deadline_has_one(board):
    board.take(b"task", math.inf)
    board.report(60)

    assert 55 < board.deadline - time.monotonic() <= 60
    board.take(b"next", math.inf)
    assert board.deadline == math.inf


def test_leaving_has_a_deadline_without_a_task(board):
    board.leave_within(10)

    assert 5 < board.deadline - time.monotonic() <= 10
    assert board.is_ending


def test_another_program_reads_it_by_its_descriptor(board):
    board.take(b"task", 5.0)
    again = Scoreboard(os.dup(board.descriptor))

    assert (again.task, again.deadline) == (b"task", 5.0)
    again.close()
