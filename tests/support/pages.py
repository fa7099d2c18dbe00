"""The pages of the documentation: their blocks of code, and how each is run or checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PROJECT = DOCS / "project"
FENCE = re.compile(r"^(`{3,})(.*)$")
NOTE = re.compile(r"<!-- (not run|checked by|run on): (.+?) -->")
FILE = re.compile(r"# (\S+\.(?:py|ini|toml))\n")
#: Directives whose text is Markdown, which may have blocks, too.
CONTAINERS = {"note", "tip", "warning", "important", "admonition", "dropdown"}
_DIGITS = r"\d(?:[\d.,:]*\d)?"  # a number, a time or an address


@dataclass(frozen=True)
class Block:
    """A block of code, with the comment of Markdown above it, split into kind and text."""

    line: int
    language: str
    code: str
    kind: str = ""
    note: str = ""

    @property
    def file(self) -> str:
        """The path of the project's file that this block is, or ""."""
        named = FILE.match(self.code)
        return named[1] if named and self.language in ("python", "ini", "toml") else ""

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command of a shell block, with its expected output; "" if it shows none."""
        if self.language == "sh":
            for line in self.code.splitlines():
                if command := line.partition("  #")[0].strip():
                    yield command, ""
        elif self.language == "console":
            for part in re.split(r"^\$ ", self.code, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


@dataclass(frozen=True)
class Page:
    """A page of Markdown."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return list(_blocks(self.text.splitlines(), 1))

    @property
    def included(self) -> list[str]:
        """The files that `literalinclude` shows, as paths from the root."""
        folder = (DOCS / self.name).parent
        names = re.findall(r"^`{3,}\{literalinclude\} (\S+)$", self.text, re.MULTILINE)
        return [os.path.relpath(folder / name, ROOT) for name in names]


def _blocks(lines: list[str], first: int) -> Iterator[Block]:
    note, at = "", 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if opened is None:
            note = lines[at] if lines[at].startswith("<!--") else note if not lines[at] else ""
            at += 1
            continue
        ticks, language = opened[1], opened[2].strip()
        end = next(n for n in range(at + 1, len(lines)) if lines[n].rstrip() == ticks)
        body = lines[at + 1 : end]
        directive = re.match(r"\{([\w-]+)\}", language)
        if directive is None:
            noted = NOTE.fullmatch(note.strip())
            kind, text = (noted[1], noted[2]) if noted else ("", "")
            yield Block(first + at, language, "".join(f"{line}\n" for line in body), kind, text)
        elif directive[1] in CONTAINERS:
            yield from _blocks(body, first + at + 1)
        note, at = "", end + 1


def pages() -> list[Page]:
    """Return README and every page of docs/."""
    paths = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.relative_to(DOCS).parts]
    found = [Page("../README.md", (ROOT / "README.md").read_text())]
    return found + [Page(str(path.relative_to(DOCS)), path.read_text()) for path in paths]


def matches(expected: str, actual: str) -> bool:
    """
    Return True if a command's output is the expected one, as far as it does not vary.

    Numbers may have other digits, columns other widths. `...` stands for any text of a line, and as
    a line for any lines. `^C` is what the reader types.
    """
    lines = [line.strip() for line in expected.strip().splitlines() if line != "^C"]
    patterns = [r"(?:.*\n)*?" if line == "..." else _pattern(line) + r"\s*\n" for line in lines]
    return re.fullmatch("".join(patterns), actual.strip() + "\n") is not None


def _pattern(line: str) -> str:
    words = []
    for word in line.split():
        parts = re.split(rf"(\.\.\.|{_DIGITS})", word)
        words.append(
            "".join(
                ".*" if part == "..." else _DIGITS if n % 2 else re.escape(part)
                for n, part in enumerate(parts)
            )
        )
    return r"\s*" + r"\s+".join(words)


def write_project(page: Page, folder: Path) -> None:
    """Write the project of the documentation, with the files of a page added to it."""
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    for block in page.blocks:
        if name := block.file:
            path = folder / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text((path.read_text() if path.exists() else "") + block.code)


def environment(settings: str = "mysite.settings") -> dict[str, str]:
    """Return the environment of a command in a project outside of the clone."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


def run(
    command: list[str] | str, folder: Path, settings: str = "mysite.settings"
) -> subprocess.CompletedProcess[str]:
    """Run a command of a page in its project; return its outcome, with stderr in stdout."""
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
