from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

# A program whose processes say what happens to them; what is in braces, a test fills in.
PROGRAM = """
    import logging, os, signal, sys, time
    from django_gearman.supervisor import Ended, Reload, Reported, Slot, Supervisor

    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO)
    VERSION = 1

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: lines stay whole

    {before}

    def start(scoreboard, channel):
        {start}
        stopping = []
        def run():
            scoreboard.beat()
            say("ready", os.getpid(), VERSION)
            {run}
            say("stopped", os.getpid())
        return run, lambda: stopping.append(True)

    def on_death(death):
        about = death.times, death.is_overdue, death.how, death.reported.name
        say("died", death.task.decode(), *about)
        {on_death}

    slots = [Slot(f"slot {{n}}", start) for n in range({processes})] + [{slots}]
    if "--check" in sys.argv:
        sys.exit(0)
    reload = Reload([sys.executable, *sys.orig_argv[1:]], ["--check"], slots)
    parent = Supervisor(
        slots, reload=reload, on_death=on_death, describe=bytes.decode, {options}
    )
    code = parent.run()
    say("account", *parent.account.tally, parent.account.interrupted)
    sys.exit(code)
"""
WAIT = """
            while not stopping:
                scoreboard.beat()
                time.sleep(0.01)
"""


class Family:
    """A supervisor and its processes."""

    def __init__(self, path: Path, command: list[str], **program: object) -> None:
        self.program = path / "program.py"
        self.program.write_text(textwrap.dedent(PROGRAM).format(**program))
        self._path = path / "output"
        self._file = self._path.open("w")
        self.process = subprocess.Popen(
            [*command, sys.executable, str(self.program)],
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        return self._path.read_text()

    def lines(self, word: str) -> list[list[str]]:
        """Return the words after this one, for each line that begins with it."""
        lines = [line.split() for line in self.output.splitlines()]
        return [line[1:] for line in lines if line[:1] == [word]]

    def children(self, word: str = "ready") -> list[int]:
        return [int(line[0]) for line in self.lines(word)]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(60)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for child in self.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._file.close()


@pytest.fixture
def launch(tmp_path) -> Iterator[Callable[..., Family]]:
    families: list[Family] = []

    def make(
        processes: int = 1,
        run: str = WAIT,
        start: str = "pass",
        options: str = "",
        *,
        before: str = "",
        on_death: str = "pass",
        slots: str = "",
        command: Sequence[str] = (),
    ) -> Family:
        """
        Start a program.

        `before` is its code before all else, `slots` are more slots, `command` a program to start it
        by.
        """
        family = Family(
            tmp_path,
            [*command],
            processes=processes,
            run=run.strip(),
            start=start,
            options=options,
            before=before,
            on_death=on_death,
            slots=slots,
        )
        families.append(family)
        return family

    yield make
    for family in families:
        family.close()
