"""Descriptions of calls and values for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..serializers import Call
from ..utils.text import described, printable

_LONGEST = 200  # of a value


def show(value: Any) -> str:
    """Return the text of a value; cut a long one."""
    text = printable(described(repr, value)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def describe_call(call: Call) -> str:
    """Return the text of a call's arguments."""
    named = [f"{name}={show(value)}" for name, value in call.kwargs.items()]
    return ", ".join([*map(show, call.args), *named])


def describe(name: str, arguments: str, options: Mapping[str, Any]) -> str:
    """Return the text of a submission."""
    return "  ".join([f"{name}({arguments})", *(f"{key}={show(options[key])}" for key in options)])
