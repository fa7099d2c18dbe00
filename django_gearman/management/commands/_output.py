"""Output of the commands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TextIO

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.core.management.color import no_style
from django.db import DatabaseError, InterfaceError

from ...exceptions import GearmanError
from ...utils.text import printable, str_of

_LONGEST = 1_000_000  # characters of a line
LONGEST_MESSAGE = 20_000  # characters of an error
_BROKEN_PIPE = 141  # the exit code of a program that SIGPIPE has killed

Style = Callable[[str], str]


class Trouble(CommandError):
    """The state of jobs or servers needs an administrator; the command itself has worked."""


class OutputCommand(BaseCommand):
    """
    A command that prints tables and lines.

    There are colours on a terminal, unless NO_COLOR or --no-color forbids them. If the reader of a
    pipe ends, for example `head`, the command ends as well. An error of the settings, of a job server
    or of the database ends it with the message of the error; --traceback shows the rest.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        if os.environ.get("NO_COLOR") and not options["force_color"]:
            options["no_color"] = True
        stream = options.get("stdout") or self.stdout
        is_terminal = hasattr(stream, "isatty") and stream.isatty()
        if not is_terminal:
            self.style = no_style()  # --force-color still replaces it
        self.width: int | None = terminal_width() if is_terminal else None
        try:
            output: str | None = super().execute(*args, **options)
            self.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes stdout at its exit, and would report the same error again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_BROKEN_PIPE)
        except (ImproperlyConfigured, GearmanError, DatabaseError, InterfaceError) as error:
            raise CommandError(str_of(error, LONGEST_MESSAGE)) from error
        return output

    def say(self, text: str, style: Style | None = None) -> None:
        """Write one line to stdout."""
        write_line(self.stdout, text, style)


def terminal_width() -> int:
    """Return the number of characters of a line; COLUMNS replaces that of the terminal."""
    return max(20, shutil.get_terminal_size().columns)


def write_line(stream: OutputWrapper | TextIO, text: str, style: Style | None = None) -> None:
    """Write one line, as `shown_line` shows it."""
    stream.write(f"{shown_line(stream, text, style)}\n")


def shown_line(stream: OutputWrapper | TextIO, text: str, style: Style | None = None) -> str:
    """
    Return a line with escapes for line breaks and for characters that the stream cannot encode.

    `style` colours the line.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = printable(text, _LONGEST).encode(encoding, "backslashreplace").decode(encoding)
    return style(line) if style is not None else line
