"""
Output of a page beside output of a terminal.

Not compared are durations, dates and times of day, ids and numbers of
processes, ids of jobs and clients, the place of the project, the versions of Django, Python and this
package, colours, the ^C of a terminal, and the width of columns. In a page, "..." is the rest of a
line, and a line of "..." is any number of lines.
"""

from __future__ import annotations

import re
import socket

_HOST = rf"(?:{re.escape(socket.gethostname())}|web1)"  # this machine, and that of the pages
_NOISE = [
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r"), ""),
    (re.compile(r"\^C\n?"), ""),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|min)\b"), "<duration>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\bH:[\w.-]+:\d+"), "<handle>"),
    (re.compile(r"\b(process|pid) \d+"), r"\1 <pid>"),
    (re.compile(r"\bworker \d+:"), "worker <n>:"),
    (re.compile(rf"^{_HOST} +\d+(?:, \d+)*", re.MULTILINE), "<host>  <pids>"),
    (re.compile(r"(?<=\S) {2,}"), "  "),
    (re.compile(r"Starting WSGI development server"), "Starting development server"),  # Django 6
    (re.compile(r"/\S+/gallery-site/"), "<project>/"),
    (
        re.compile(r"\b(Django|Python|gearman_server)( version)? \d+\.\d+(?:\.\d+)?"),
        r"\1\2 <version>",
    ),
]


def plain(text: str) -> str:
    """Return the text without what differs from run to run."""
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    return text


def pattern_of(page: str) -> re.Pattern[str]:
    """Return a pattern for the output that a page shows."""
    lines = []
    for line in plain(page).strip("\n").splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(re.escape(line).replace(r"\.\.\.", ".*") + r"\n")
    return re.compile(r"\n*" + "".join(lines))
