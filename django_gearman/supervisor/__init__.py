"""Keep a number of processes running until told to stop. Knows nothing of Gearman or Django."""

from .arbiter import Status, Supervisor
from .process import Death, Slot, tell, wake_parent
from .reload import Reload
from .scoreboard import Reported, Scoreboard, Stage
from .streams import protect_streams

__all__ = [
    "Death",
    "Reload",
    "Reported",
    "Scoreboard",
    "Slot",
    "Stage",
    "Status",
    "Supervisor",
    "protect_streams",
    "tell",
    "wake_parent",
]
