"""The library's log records: no foreign text can forge one."""

from __future__ import annotations

import io
import logging

import pytest

from django_gearman.utils.records import get_logger

FORGED = "2026-01-01 00:00:00,000 1 INFO all is well"


@pytest.fixture
def written():
    """Return the library's logger, and the output of a project's plain formatter."""
    logger = get_logger("django_gearman.tests.records")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger, stream.getvalue
    logger.removeHandler(handler)


@pytest.mark.parametrize("form", ["%s", "%r"])
@pytest.mark.parametrize(
    "value", [f"x\n{FORGED}", ValueError(f"x\n{FORGED}"), [f"\x1b[2J\n{FORGED}"]]
)
def test_an_argument_stays_in_its_line(written, form, value):
    logger, message = written

    logger.warning(f"job {form} failed", value)

    assert message().count("\n") == 1
    assert "\x1b" not in message()
    assert r"\n2026" in message()


def test_safe_arguments_reach_handlers_unchanged(written):
    logger, message = written

    logger.info("%s has %d in %.1f s and %r", "mail", 3, 0.25, "a")

    assert message() == "INFO mail has 3 in 0.2 s and 'a'\n"


def test_no_line_of_a_traceback_looks_like_a_record(written):
    logger, message = written

    try:
        raise ValueError(f"no\n{FORGED}\x1b[1A")
    except ValueError as error:
        logger.error("job failed", exc_info=error)

    first, *others = message().splitlines()
    assert first == "ERROR job failed"
    assert all(line.startswith("  | ") for line in others)
    assert f"  | {FORGED}\\x1b[1A" in others


@pytest.mark.parametrize("kind", [RecursionError, SystemExit, KeyboardInterrupt])
def test_an_exception_that_cannot_be_shown_is_logged(written, kind):
    class Broken(Exception):
        def __str__(self) -> str:
            raise kind

        __repr__ = __str__

    logger, message = written

    logger.error("job failed: %s %r", Broken(), Broken(), exc_info=Broken())

    assert message().startswith("ERROR job failed: <")
    assert "Broken" in message().splitlines()[-1]
