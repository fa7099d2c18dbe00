"""What the arguments of the commands may be."""

from __future__ import annotations

import argparse
import math


def whole_number(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def positive_number(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def prefetch(text: str) -> int | None:
    """Read a whole number, or "auto"."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor 'auto'")
    return int(text)
