from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandParser

from ...jobs.functions import job_functions
from ...utils.text import printable
from ..servers import as_json, paused_queues, rows_of, server_states
from ..status import Line, screen, trouble
from ..tables import keep_start
from ._arguments import add_timeout, positive_number
from ._output import OutputCommand, Trouble, shown_line

_WATCH_SECONDS = 2.0
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Command(OutputCommand):
    help = (
        "Show the job servers, the functions of this project by queue, and the workers. Functions "
        "with jobs that no worker serves come first, with '!'. Exits with 1 if a server is down, "
        "and with 2 if jobs wait that no worker serves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object instead")
        parser.add_argument(
            "--watch",
            nargs="?",
            type=positive_number,
            const=_WATCH_SECONDS,
            metavar="SECONDS",
            help="show the status again and again, every SECONDS (default: 2), until CONTROL-C",
        )
        add_timeout(parser, "each server may take")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"] is None:
            message, code = self._show(**options)
            if code:
                raise Trouble(printable(message), returncode=code)
            return
        with suppress(KeyboardInterrupt):
            while True:
                self._show(**options)
                time.sleep(options["watch"])
        self.stdout.write("")  # the terminal has shown ^C in this line

    def _show(self, *, timeout: float, **options: Any) -> tuple[str, int]:
        """Show the status once; return the trouble, and its exit code."""
        states, jobs = server_states(timeout), job_functions()
        paused, unknown = paused_queues()
        rows = rows_of(states, jobs, paused)
        message, code = trouble(states, rows)
        is_watching = options["watch"] is not None
        if options["json"]:
            shown = {"servers": [as_json(state, jobs, paused) for state in states]}
            self.stdout.write(json.dumps(shown, indent=None if is_watching else 2))
        else:
            lines = screen(states, rows, jobs, self.width, paused)
            if unknown:
                lines.append(Line(unknown, "WARNING"))
            if is_watching:
                now = time.strftime("%H:%M:%S")
                text = keep_start(f"{now}  {message}".rstrip(), self.width)
                lines.append(Line(text, "ERROR" if code else ""))
            self._write(lines, is_watching)
        self.stdout.flush()
        return message, code

    def _write(self, lines: list[Line], is_watching: bool) -> None:
        texts = [
            shown_line(self.stdout, line.text, getattr(self.style, line.style or "_", None))
            for line in lines
        ]
        if is_watching and self.width is not None:  # one write, so that the screen does not flicker
            room = shutil.get_terminal_size().lines - 1
            texts = texts[: room - 1] + texts[-1:]
            frame = "".join(f"{text}{_REST_OF_LINE}\n" for text in texts)
            self.stdout.write(f"{_HOME}{frame}{_REST_OF_SCREEN}", ending="")
        else:
            self.stdout.write("\n".join([*texts, ""] if is_watching else texts))
