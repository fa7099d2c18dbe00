"""
A supervisor of processes: it keeps a number of them running. It knows no Gearman and no Django.
"""

from .arbiter import Status, Supervisor
from .attendant import Attendant, Service, attendant_slot
from .process import Slot, WorkerExit, send_socket, wake_parent
from .reload import Reload
from .scoreboard import Reported, Scoreboard, Stage
from .streams import protect_streams

__all__ = [
    "Attendant",
    "Reload",
    "Reported",
    "Scoreboard",
    "Service",
    "Slot",
    "Stage",
    "Status",
    "Supervisor",
    "WorkerExit",
    "attendant_slot",
    "protect_streams",
    "send_socket",
    "wake_parent",
]
