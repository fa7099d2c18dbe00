"""
A supervisor of processes: it keeps a number of them running. It knows no Gearman and no Django.
"""

from .account import Account, Status
from .arbiter import Supervisor
from .attendant import Attendant, Service, attendant_slot
from .cell import CANCEL_SIGNAL, Phase
from .lease import Lease
from .notice import Notice
from .process import Slot, WorkerExit, send_socket, wake_parent
from .reload import Reload
from .scoreboard import Cell, Ended, Reported, Scoreboard, Stage, Tally
from .streams import protect_streams

__all__ = [
    "CANCEL_SIGNAL",
    "Account",
    "Attendant",
    "Cell",
    "Ended",
    "Lease",
    "Notice",
    "Phase",
    "Reload",
    "Reported",
    "Scoreboard",
    "Service",
    "Slot",
    "Stage",
    "Status",
    "Supervisor",
    "Tally",
    "WorkerExit",
    "attendant_slot",
    "protect_streams",
    "send_socket",
    "wake_parent",
]
