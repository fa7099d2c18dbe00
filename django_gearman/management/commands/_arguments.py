"""Types of the arguments of the commands."""

from __future__ import annotations

import argparse
import math
import re

from ...utils.text import repr_of

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def whole_number(text: str) -> int:
    """Parse a whole number above 0."""
    number = int(text) if _WHOLE.fullmatch(text) else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{repr_of(text, 60)} is not a whole number above 0")
    return number


def positive_number(text: str) -> float:
    """Parse a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if number == math.inf:
        raise argparse.ArgumentTypeError(f"{repr_of(text, 60)} is not a finite number")
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{repr_of(text, 60)} is not a number above 0")
    return number


def prefetch(text: str) -> int | None:
    """Parse a whole number from 0, or "auto"."""
    if text == "auto":
        return None
    if not _WHOLE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{repr_of(text, 60)} is neither a whole number nor 'auto'"
        )
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"expected 'auto' or a number from 0, got {text}")
    return int(text)


def add_timeout(parser: argparse.ArgumentParser, limit: str, default: float = 5.0) -> None:
    """Add --timeout; `limit` ends the sentence "how many seconds ..."."""
    parser.add_argument(
        "--timeout",
        type=positive_number,
        default=default,
        metavar="SECONDS",
        help=f"how many seconds {limit} (default: {default:g})",
    )


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """Add --log-format, of the commands that show logs."""
    parser.add_argument(
        "--log-format",
        choices=["text", "json"],
        default="text",
        help="the format of log records (default: text)",
    )
