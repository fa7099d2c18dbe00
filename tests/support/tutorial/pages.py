"""
The pages of docs/tutorial as steps.

The sentence before a block of code says what to do with it:

* "Create `PATH`:", "Replace `PATH` with:", "Add to the end of `PATH`:" and "In `PATH`, replace
  `TEXT` with:" are files.
* A block of the language "console" is typed into a terminal: lines with "$ " are commands, the others
  their output. The words "first terminal" (second, third ...) in the text since the block before
  choose the terminal; the last ones count.
* A block of the language "text" is what that terminal shows next. If the paragraph says "Press Ctrl-C",
  do that before.

A paragraph with an address of the development server is for the browser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
_FILE = re.compile(
    r"(?:(Create) `([^`]+)`|(Replace) `([^`]+)` with|(Add) to the end of `([^`]+)`"
    r"|In `([^`]+)`, replace `([^`]+)` with):$"
)
_TERMINAL = re.compile(r"\b(first|second|third|fourth|fifth) terminal\b")
_TERMINALS = ["first", "second", "third", "fourth", "fifth"]


@dataclass
class File:
    """A file to create (`old` is None), to extend (`old` is "") or to change (`old` is the text)."""

    path: str
    old: str | None
    text: str


@dataclass
class Typed:
    """Commands with their output, in a terminal."""

    terminal: int
    commands: list[tuple[str, str]]


@dataclass
class Shown:
    """The next output of a terminal, after Ctrl-C or without it."""

    terminal: int
    text: str
    is_interrupted: bool


@dataclass
class Browsed:
    """A paragraph about what to do in the browser."""

    text: str


Step = File | Typed | Shown | Browsed


def steps(page: Path) -> list[Step]:
    """Return the steps of a page, in their order; raise ValueError for a block without a sentence."""
    found: list[Step] = []
    terminal = 0
    end, text = 0, page.read_text()
    for block in _BLOCK.finditer(text):
        paragraphs = _paragraphs(text[end : block.start()])
        end = block.end()
        found += [Browsed(paragraph) for paragraph in paragraphs if "http://127" in paragraph]
        before = paragraphs[-1] if paragraphs else ""
        if named := _TERMINAL.findall(" ".join(paragraphs)):
            terminal = _TERMINALS.index(named[-1])
        language, code = block.groups()
        if named_file := _FILE.search(before):
            found.append(_file(named_file, code))
        elif language == "console":
            found.append(Typed(terminal, _commands(code)))
        elif language == "text":
            found.append(Shown(terminal, code, "Press Ctrl-C" in before))
        else:
            raise ValueError(f"{page.name}: what is to be done with this block?\n{before}\n{code}")
    found += [Browsed(text) for text in _paragraphs(text[end:]) if "http://127" in text]
    return found


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def _file(named: re.Match[str], code: str) -> File:
    create, created, replace, replaced, add, extended, changed, old = named.groups()
    if create or replace:
        return File(created or replaced, None, code)
    if add:
        return File(extended, "", code)
    return File(changed, old, code.rstrip("\n"))


def _commands(code: str) -> list[tuple[str, str]]:
    commands: list[tuple[str, str]] = []
    for line in code.splitlines(keepends=True):
        if line.startswith("$ "):
            commands.append((line[2:].rstrip("\n"), ""))
        else:
            command, output = commands.pop()
            commands.append((command, output + line))
    return commands
