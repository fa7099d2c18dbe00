"""Gearman's admin protocol: a job server's answers to commands in plain text."""

from __future__ import annotations

import re

from ..exceptions import ProtocolError

# descriptor, address ("::1" too), client id (any text), a colon, functions
_WORKER = re.compile(r"(\d+|-1|NA) ([^ ]*\w[^ ]*) (.*) :((?: .*)?)", re.DOTALL)
_GONE = "-1", "NA"  # the descriptor of a closing connection
# function (any text), total, running, workers
_STATUS = re.compile(r"(.*)\t(\d+)\t(\d+)\t(\d+)", re.DOTALL | re.ASCII)
# function, queued jobs with priority high, normal, low, workers
_PRIORITIES = re.compile(r"(.*)\t(\d+)\t(\d+)\t(\d+)\t(\d+)", re.DOTALL | re.ASCII)
_VERSION = re.compile(r"OK (?:(\d\S*)|(\S.*))")
_MOST_LINES = 130  # of one record: a client id has 127 bytes


def _lines(text: str) -> list[str]:
    """Split at newlines only: names may contain other line ends of str.splitlines()."""
    return text.removesuffix("\n").split("\n") if text else []


def parse_status(text: str, *, strict: bool = True) -> list[tuple[str, int, int, int]]:
    """
    Parse the answer to the admin command `status`: (function, total, running, workers).

    Raises ProtocolError for an invalid line; without `strict`, only if there is no valid line.
    """
    return [
        (function, int(total), int(running), int(workers))
        for function, total, running, workers in _records("status", _STATUS, text, strict)
    ]


def parse_priorities(text: str) -> dict[str, tuple[int, int, int]]:
    """
    Parse the answer to the admin command `prioritystatus`: the queued jobs by priority, high first.

    Returns nothing for a server that does not know the command. Invalid lines are left out.
    """
    if text.startswith("ERR ") and "\t" not in text:
        return {}
    return {
        function: (int(high), int(normal), int(low))
        for function, high, normal, low, _ in _records("prioritystatus", _PRIORITIES, text, False)
    }


def parse_workers(text: str, *, strict: bool = True) -> list[tuple[str, str, tuple[str, ...]]]:
    """
    Parse the answer to the admin command `workers`: (address, client id, functions).

    Raises ProtocolError for an invalid line; without `strict`, only if there is no valid line.
    """
    return [
        (address, client_id, tuple(filter(None, functions.split(" "))))
        for descriptor, address, client_id, functions in _records("workers", _WORKER, text, strict)
        if descriptor not in _GONE
    ]


def parse_software(version: str, software: str) -> str:
    """
    Return the program and its version, from the answers to the admin commands of these names.

    Only the included server knows `software`; gearmand answers an error, and the others may answer
    anything. Returns "" if the answers do not tell.
    """
    own = _VERSION.fullmatch(software.strip())
    if own is not None and own[2]:
        return own[2]
    found = _VERSION.fullmatch(version.strip())
    return "" if found is None else f"gearmand {found[1]}" if found[1] else found[2]


def _records(command: str, form: re.Pattern[str], text: str, strict: bool) -> list[tuple[str, ...]]:
    """Split an answer into its records; a newline in a name makes several lines of one record."""
    records: list[tuple[str, ...]] = []
    odd: list[str] = []
    pending: list[str] = []
    for line in _lines(text):
        pending.append(line)
        match = form.fullmatch("\n".join(pending)) if len(pending) <= _MOST_LINES else None
        if match is None and (match := form.fullmatch(line)):
            odd += pending[:-1]
        if match is not None:
            records.append(match.groups())
            pending = []
    odd += pending
    if odd and (strict or not records):
        raise ProtocolError(f"not a line of the admin command {command!r}: {odd[0]!r:.200}")
    return records
