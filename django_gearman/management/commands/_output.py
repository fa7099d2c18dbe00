"""Output of the commands."""

from __future__ import annotations

from typing import TextIO

from django.core.management.base import OutputWrapper

from ...utils.text import printable

_LONGEST = 1_000_000  # characters of a line


def write_line(stream: OutputWrapper | TextIO, text: str) -> None:
    """
    Write one line, with escapes for line breaks and for characters that the stream cannot encode.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = printable(text, _LONGEST).encode(encoding, "backslashreplace").decode(encoding)
    stream.write(f"{line}\n")
