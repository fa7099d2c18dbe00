from __future__ import annotations

import logging
import sys
import time

import pytest
from django.core.management.color import color_style, no_style

from django_gearman.management import terminal_logs
from django_gearman.management.tables import width_of
from django_gearman.management.terminal_logs import TerminalFormatter, name_process


@pytest.fixture
def formatter() -> TerminalFormatter:
    return TerminalFormatter(no_style(), lambda: 80)


@pytest.fixture(autouse=True)
def process(monkeypatch):
    monkeypatch.setattr(terminal_logs, "_process", "")


def record(message="a message", level=logging.INFO, error=None, **fields) -> logging.LogRecord:
    made = logging.LogRecord("django_gearman.jobs", level, "", 0, message, (), None)
    if error is not None:
        try:
            raise error
        except type(error):
            made.exc_info = sys.exc_info()
    made.created = time.mktime((2026, 1, 2, 13, 51, 3, 0, 0, -1))
    for name, value in fields.items():
        setattr(made, f"gearman_{name}", value)
    return made


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"state": "started"}, "started"),
        ({"state": "started", "attempt": 3}, "started  attempt 3"),
        ({"state": "succeeded", "seconds": 0.0284}, "done     28 ms"),
        ({"state": "succeeded", "seconds": 0.0000798}, "done     0.08 ms"),
        ({"state": "succeeded", "seconds": 12.345}, "done     12.3 s"),
        (
            {"state": "retried", "delay": 0.9, "error": OSError("500")},
            "RETRY    OSError: 500; attempt 1, again in 900 ms",
        ),
        ({"state": "failed", "error": ValueError("no")}, "FAILED   ValueError: no; attempt 1"),
    ],
)
def test_a_line_about_a_job_is_short_and_aligned(formatter, fields, line):
    shown = formatter.format(record(job="send-mail", **fields)).splitlines()[0]

    assert shown.split("  ")[0] == "13:51:03 send-mail"
    assert shown[9 + 30 + 2 :] == line


def test_the_attempts_of_a_job_are_counted(formatter):
    job = "tests.integration.untellable_jobs.take_with_retries"

    shown = formatter.format(record(job=job, state="retried", attempt=2, delay=0))

    assert "attempt 2 of 6, again at once" in shown
    assert "..lable_jobs.take_with_retries" in shown


def test_a_retry_is_one_line(formatter):
    shown = formatter.format(record(job="a", state="retried", delay=1, error=ValueError("no")))

    assert "ValueError: no" in shown
    assert len(shown.splitlines()) == 1


def test_a_traceback_is_below_its_record(formatter):
    lines = formatter.format(record(job="a", state="failed", error=ValueError("no"))).splitlines()

    assert lines[1] == "  | Traceback (most recent call last):"
    assert lines[-1] == "  | ValueError: no"


def test_other_records_have_their_level_if_they_are_serious(formatter):
    assert formatter.format(record("ready")) == "13:51:03 ready"
    assert formatter.format(record("down", logging.WARNING)) == "13:51:03 WARNING: down"


@pytest.mark.parametrize(
    ("slot", "label"),
    [("worker 3", "[#3]"), ("worker images 2", "[images #2]"), ("attendant", "")],
)
def test_a_process_is_named_at_the_right(formatter, slot, label):
    name_process(slot)

    shown = formatter.format(record("ready"))

    assert shown.startswith("13:51:03 ready")
    assert shown.endswith(label)
    assert not label or width_of(shown) == 80


def test_no_record_moves_the_cursor_or_forges_a_line(formatter):
    name_process("worker \x1b[2J 1")
    hostile = "x\n13:51:03 forged\r\x1b[2J\u202e"

    shown = formatter.format(record(hostile, job=hostile, state="failed", error=OSError(hostile)))

    assert shown.replace("\n", "").isprintable()
    assert not [line for line in shown.splitlines()[1:] if not line.startswith("  | ")]


def test_states_have_colours():
    formatter = TerminalFormatter(color_style(force_color=True), lambda: 80)

    lines = [
        formatter.format(record(job="a", state=state))
        for state in ("succeeded", "retried", "failed", "started")
    ]

    assert len({line.split("m")[0] for line in lines}) == 4
    assert ["\x1b[" in line for line in lines] == [True, True, True, False]
