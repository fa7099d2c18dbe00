"""Keep a number of processes running until told to stop. Knows nothing of Gearman or Django."""

from .arbiter import Status, Supervisor
from .process import Death, Slot, tell, wake_parent
from .reload import Reload
from .scoreboard import Scoreboard

__all__ = [
    "Death",
    "Reload",
    "Scoreboard",
    "Slot",
    "Status",
    "Supervisor",
    "tell",
    "wake_parent",
]
