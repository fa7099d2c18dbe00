"""A stranger: they have an empty directory, terminals and a browser, and do what the pages say."""

from __future__ import annotations

import os
import random
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path

from selenium.webdriver import Chrome

from tests.support.browser import chromium

from .pages import Browsed, File, Shown, Step, Typed, steps
from .terminal import Terminal

#: The ports that the pages name. Each stranger has others of the same length, as several run at a time.
PORTS = ("4730", "8000", "9000")


#: How many seconds a stranger reads before they change a file of the server that they have started.
_READING = 2.0


class Stranger:
    """
    A reader of the tutorial.

    `deeds` has a function for each paragraph about the browser, under a part of its text.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        deeds: Mapping[str, Callable[[Stranger], None]],
    ) -> None:
        self.directory = directory
        self.environment = environment
        self.deeds = deeds
        self._open = ExitStack()
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.terminals: list[Terminal] = []
        self.done: set[str] = set()

    def follow(self, page: Path) -> None:
        """Do what the page says; raise AssertionError if something else happens."""
        for step in steps(page):
            try:
                self._do(step)
            except AssertionError as error:
                shown = "\n".join(f"Terminal:\n{terminal.text}" for terminal in self.terminals)
                raise AssertionError(f"{page.name}: {error}\n{shown}") from error

    def address(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports['8000']}{path}"

    @cached_property
    def browser(self) -> Chrome:
        return self._open.enter_context(chromium(self.directory / "profile"))

    def close(self) -> None:
        self._open.close()
        for terminal in self.terminals:
            terminal.close()

    def _do(self, step: Step) -> None:
        match step:
            case File():
                self._write(step)
            case Typed():
                for command, expected in step.commands:
                    command = command.replace("runserver", f"runserver {self.ports['8000']}")
                    self._terminal(step.terminal).run(self._ported(command), expected)
            case Shown(terminal, text, is_interrupted):
                if is_interrupted:
                    self._terminal(terminal).interrupt(text)
                else:
                    self._terminal(terminal).expect(text)
            case Browsed(text):
                [deed] = [deed for deed in self.deeds if deed in text] or [""]
                assert deed, f"nobody knows how to do this in a browser: {text}"
                self.done.add(deed)
                self.deeds[deed](self)

    def _write(self, file: File) -> None:
        project = self._terminal(0).directory
        path, text = project / file.path, self._ported(file.text)
        if path.exists() and (seconds := _READING - self._terminal(0).age) > 0:
            time.sleep(seconds)  # the development server does not yet look for changes
        if file.old is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif file.old == "":
            text = f"{path.read_text()}\n{text}"
        else:
            old = path.read_text()
            assert old.count(file.old) == 1, f"{file.old} is not in\n{old}"
            text = old.replace(file.old, text)
        path.write_text(text)

    def _terminal(self, number: int) -> Terminal:
        while len(self.terminals) <= number:
            self.terminals.append(Terminal(self.directory, self.environment, self.ports))
        return self.terminals[number]

    def _ported(self, text: str) -> str:
        for named, own in self.ports.items():
            text = re.sub(rf"\b{named}\b", own, text)
        return text


def _free_ports(number: int) -> list[str]:
    """Return ports of four digits, so that tables have the width of the page's."""
    found: list[str] = []
    generator = random.Random(os.getpid())
    while len(found) < number:
        port = generator.randrange(2000, 9999)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(str(port))
    return found
