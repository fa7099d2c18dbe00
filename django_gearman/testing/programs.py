"""The choice of a private job server: gearmand, or the included one if that is not installed."""

from __future__ import annotations

import os
import shutil
import sys
import unittest
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The value of GEARMAND for the included server, even if gearmand is installed.
INCLUDED = "gearman_server"

_PLACES = "/usr/sbin:/usr/local/sbin"  # gearmand's directories, which an ordinary PATH often lacks
_ROOT = Path(__file__).parent.parent.parent  # for new processes


class GearmandNotInstalled(unittest.SkipTest):
    """The error if there is no gearmand on this machine: a test that needs one is skipped."""


@dataclass(frozen=True)
class Program:
    """A job server's program; `name` is "gearmand" or "gearman_server"."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.name == INCLUDED:
            return f"the included {INCLUDED}"
        return f"{self.name} ({self.command[0]})"


def find_gearmand() -> str:
    """
    Return the path of the gearmand in the environment variable GEARMAND, or of this machine's.

    Raises GearmandNotInstalled if there is none.
    """
    chosen = os.environ.get("GEARMAND")
    if chosen == INCLUDED:
        raise GearmandNotInstalled(f"GEARMAND={INCLUDED} is the included server, and no gearmand")
    if chosen:
        if (program := shutil.which(chosen)) is None:
            raise RuntimeError(
                f"GEARMAND={chosen!r} is not a program that can be run; name the path of a gearmand, "
                f"or {INCLUDED!r} for the included server, or unset it"
            )
        return program
    found = shutil.which("gearmand") or shutil.which("gearmand", path=_PLACES)
    if found is None:
        raise GearmandNotInstalled(
            "gearmand is not installed; on Debian and Ubuntu: apt-get install gearman-job-server"
        )
    return found


def choose_program() -> Program:
    """Return gearmand, or the included server if gearmand is not installed or not chosen."""
    try:
        return installed_gearmand()
    except GearmandNotInstalled:
        return included_server()


def installed_gearmand() -> Program:
    """Return gearmand; raise GearmandNotInstalled if there is none."""
    return Program("gearmand", (find_gearmand(), "--listen=127.0.0.1", "--log-file=stderr"))


def included_server() -> Program:
    """Return the server of this package."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    return Program(INCLUDED, (sys.executable, "-m", "django_gearman.jobserver"), environment)
