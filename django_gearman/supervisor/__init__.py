"""Keep a number of processes running until told to stop. Knows nothing of Gearman or Django."""

from .arbiter import Status, Supervisor
from .process import Death, Slot, tell, wake_parent
from .reload import Reload
from .scoreboard import Scoreboard, Stage

__all__ = [
    "Death",
    "Reload",
    "Scoreboard",
    "Slot",
    "Stage",
    "Status",
    "Supervisor",
    "tell",
    "wake_parent",
]
