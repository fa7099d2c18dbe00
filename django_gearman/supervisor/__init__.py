"""Keep a number of processes running until told to stop. Knows nothing of Gearman or Django."""

from .arbiter import CANNOT_START, Status, Supervisor
from .board import Board
from .process import Death, Place, Process, nudge, tell
from .reload import Reload

__all__ = [
    "CANNOT_START",
    "Board",
    "Death",
    "Place",
    "Process",
    "Reload",
    "Status",
    "Supervisor",
    "nudge",
    "tell",
]
