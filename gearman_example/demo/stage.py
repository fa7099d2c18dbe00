"""The processes of the demo, and their lines in one terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.termcolors import make_style

#: Seconds until the demo gives up waiting for anything.
PATIENCE = 20.0

_ROOT = Path(__file__).parent.parent.parent
_WORKER = ("gearman_worker", "--with-server", "-w", "2", "-q", "default", "-q", "counting:1")
_OPTIONS = ("--log-format", "json", "-v", "2", "--grace-period", "5")
_JOB = re.compile(r"job gearman_example\.(\w+) \(\S+?\) (.*)")
_DIGEST = re.compile(r", with arguments of digest \w+")
_SUPERVISED = re.compile(r"^worker [\w ]+: |\bjob gearman_example\.| \(\S+//\S+\)")
_LEAST_WIDTH = 40
_COLOURS = {"client": "cyan", "supervisor": "red"}
_WORKER_COLOURS = ("green", "yellow", "magenta", "blue")

Record = dict[str, Any]


class Stage:
    """
    A terminal in which each process has its colour, and each line is written at once.

    `records` are the log records of the worker so far. `verbosity` 2 shows tracebacks.
    """

    def __init__(self, stdout: OutputWrapper, *, colours: bool, verbosity: int) -> None:
        self.records: list[Record] = []
        self.verbosity = verbosity
        self._stdout = stdout
        self._colours = colours
        self._changed = threading.Condition()
        self._names: dict[int, str] = {}  # of the worker processes
        self._width = shutil.get_terminal_size().columns if stdout.isatty() else None

    # Lines

    def title(self, text: str) -> None:
        self._write("", text, make_style(opts=("bold",)))

    def say(self, who: str, text: str) -> None:
        """Write a line about a process, in its colour."""
        number = int(who.rpartition(" ")[2]) if who.startswith("worker ") else 0
        colour = _COLOURS.get(who) or _WORKER_COLOURS[number % len(_WORKER_COLOURS)]
        self._write(f"   {who:<10}  ", text, make_style(fg=colour))

    def _write(self, head: str, text: str, style: Callable[[str], str]) -> None:
        """Write a text behind its head; a text that is too long continues on the next line."""
        shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        lines = [head + shown]
        if self._width is not None:
            head += " " * (len(shown) - len(shown.lstrip()))
            width, below = max(_LEAST_WIDTH, self._width), " " * len(head)
            lines = textwrap.wrap(shown, width, initial_indent=head, subsequent_indent=below)
        with self._changed:
            try:
                for line in lines:
                    self._stdout.write(f"{style(line) if self._colours else line}\n")
                self._stdout.flush()
            except BrokenPipeError:  # for example of `head`; the exit code still counts
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def name_of(self, process: int) -> str:
        """Return the name of a worker process that has run a job."""
        return self._names.get(process, "")

    # The worker's records

    def wait(self, condition: Callable[[list[Record]], object]) -> bool:
        """Wait until the condition holds for the records; return False if it does not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(condition(self.records)), PATIENCE)

    def ended(self, job: str, number: int = 1) -> bool:
        """Wait until this number of runs of a job have ended, so that their lines are here."""
        return self.wait(lambda records: len(self.ends(job)) >= number)

    def ends(self, job: str) -> list[str]:
        """Return the last words of the records about runs of a job that have ended."""
        texts = [_JOB.fullmatch(str(record.get("message", ""))) for record in self.records]
        return [text[2] for text in texts if text and text[1] == job and text[2] != "started"]

    def take(self, line: str) -> None:
        """Show a line of the worker's output."""
        try:
            record = json.loads(line)
        except ValueError:
            record = {"message": line.rstrip(), "level": "ERROR"}
        self._show(record)
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def _show(self, record: Record) -> None:
        process, text = record.get("process", 0), str(record.get("message", ""))
        about = _JOB.fullmatch(text)
        if about and about[2] == "started" and process not in self._names:
            self._names[process] = f"worker {len(self._names) + 1}"
        who = self._names.get(process, "supervisor")
        if about is not None:
            text = f"{about[1]} {_DIGEST.sub('', about[2])}"
        elif record.get("logger") == "stdout":
            text = text.removeprefix("[worker] ")
        elif record.get("level") in ("WARNING", "ERROR", "CRITICAL"):
            text = _SUPERVISED.sub("", text)
        else:
            return
        for line in text.split("\n"):
            self.say(who, line)
        if self.verbosity > 1:
            for line in str(record.get("traceback", "")).splitlines():
                self.say(who, f"  {line}")

    # The worker

    @contextmanager
    def worker(self, address: str) -> Iterator[None]:
        """Run a worker with its own job server at this address; stop both at the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "django", *_WORKER, *_OPTIONS],
            cwd=_ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "gearman_example.settings",
                "GEARMAN_BACKEND": "gearman",
                "GEARMAN_SERVERS": address,
                "PYTHONUNBUFFERED": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which stops the worker
        )
        reader = threading.Thread(target=self._read, args=[process], daemon=True)
        reader.start()
        try:
            self._wait_ready(process)
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(PATIENCE)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.take(line)

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any("ready: " in str(record.get("message")) for record in self.records):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandError("the worker did not start; its output is above")
            with self._changed:
                self._changed.wait(0.05)


def free_address() -> str:
    """Return an address of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
