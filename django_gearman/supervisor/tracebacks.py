"""
Tracebacks of all processes, on SIGQUIT.

Each process writes its own behind its scoreboard, and the parent logs it, so that the lines of two
processes do not mix, and a log of JSON stays one. The interpreter's faulthandler writes it: that works
in a process that hangs, too.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
from collections.abc import Iterable

from .process import Process
from .streams import has_room

logger = logging.getLogger(__name__)

_PATIENCE = 0.5  # seconds for a process to write
_STEP = 0.02  # seconds without more text, after which it is complete


class Place(Exception):
    """The present place of a process in its code; the text is its traceback."""


def show_tracebacks(processes: Iterable[Process]) -> None:
    """Log the traceback of this process, and those of the others."""
    own = "".join("".join(traceback.format_stack(f)) for f in sys._current_frames().values())
    logger.warning("traceback of the supervisor:", exc_info=Place(own))
    asked = [process for process in processes if not process.is_stopped]
    for process in asked:
        process.send(signal.SIGQUIT)
    until = time.monotonic() + _PATIENCE
    sizes: list[int] = []
    while time.monotonic() < until:
        before, sizes = sizes, [process.scoreboard.text_size for process in asked]
        if all(sizes) and sizes == before:
            break
        time.sleep(_STEP)
    for process in processes:
        if not has_room(2):  # a write there would block
            return
        name = process.slot.name if process.slot else "an old worker"
        text = process.scoreboard.take_text() or "it has not answered"
        logger.warning("%s: traceback of process %d:", name, process.pid, exc_info=Place(text))
