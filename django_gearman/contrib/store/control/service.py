"""The service of the attendant that answers commands, over a private function."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.crypto import get_random_string

from ....backends import get_backend_class, use_backend
from ....backends.base import AssignedJob, WorkComplete, WorkerSession
from ....exceptions import BackendError
from ....supervisor import Attendant, Service
from ....utils.records import get_logger, log
from ....utils.text import str_of
from ..counters import gearman_store_errors_total
from . import messages
from .describing import describe
from .interrupting import interrupts
from .stacks import handles, stack_of
from .values import ControlError, as_json

logger = get_logger("django_gearman.control")

_REMEMBERED_SECONDS = 3 * messages.VALID_SECONDS  # for which a message is known

#: A function that carries out a command with its arguments, and returns the fields of the answer.
Command = Callable[[Attendant, Mapping[str, Any]], dict[str, Any]]


class Control:
    """The answers of one attendant."""

    def __init__(self) -> None:
        self._session: WorkerSession | None = None
        self._life = ""
        self._seen: dict[str, float] = {}  # times of messages, by nonce

    def turn(self, attendant: Attendant) -> None:
        """Answer until the attendant stops."""
        self._life = get_random_string(22)
        function = messages.function_of(f"{messages.host_name()}:{attendant.parent}")
        client_id = f"{messages.host_name()}/{os.getpid()}/control"
        self._session = session = use_backend().register([function], client_id)
        session.client_id, session.functions = client_id, frozenset([function])
        session.may_poll = lambda: False  # nobody delays a message
        try:
            while not attendant.is_stopping:
                assigned = session.grab_job(session.idle_seconds)
                if assigned is not None:
                    self._answer(attendant, session, assigned)
        finally:
            session.close()

    def wake(self) -> None:
        """Make `turn` end now; the attendant stops."""
        if self._session is not None:
            self._session.ask_no_more()

    def _answer(self, attendant: Attendant, session: WorkerSession, assigned: AssignedJob) -> None:
        try:
            data = self._carry_out(attendant, assigned)
        except ControlError as error:
            log(logger, logging.WARNING, "a control message was refused: %s", error)
            data = messages.refusal(error)
        except Exception as error:  # noqa: BLE001 - its client gets it, and the next message is answered
            log(logger, logging.ERROR, "a control message failed: %s", error, exc_info=error)
            data = messages.refusal(ControlError(f"this failed: {str_of(error)}"))
        try:
            session.send(assigned, WorkComplete(data))
        except BackendError as error:
            log(logger, logging.WARNING, "a control message was not answered: %s", error)

    def _carry_out(self, attendant: Attendant, assigned: AssignedJob) -> bytes:
        fields = messages.read(assigned.workload, assigned.function)
        nonce, name = fields["nonce"], fields["command"]
        now = time.monotonic()
        self._seen = {each: at for each, at in self._seen.items() if now - at < _REMEMBERED_SECONDS}
        if nonce in self._seen:
            raise ControlError(f"the message {name!r} has already been received")
        self._seen[nonce] = now
        command = COMMANDS.get(name)
        if command is None:
            raise ControlError(
                f"this supervisor does not know the command {name!r}; is its release older?"
            )
        if name in messages.ONCE and fields.get("life") != self._life:
            raise ControlError(f"the process for {name!r} has been replaced: try again")
        return messages.answer(nonce, **command(attendant, fields), life=self._life)


def _list(attendant: Attendant, fields: Mapping[str, Any]) -> dict[str, Any]:
    with attendant.processes() as seen:
        return {"supervisor": as_json(describe(attendant.parent, seen))}


def _stack(attendant: Attendant, fields: Mapping[str, Any]) -> dict[str, Any]:
    pid = fields["pid"]
    with attendant.processes() as seen:
        for each in seen:
            if each.pid == pid:
                return {"stack": stack_of(each)}
        known = ", ".join(str(each.pid) for each in seen)
    raise ControlError(f"it has no process {pid!r}; its processes are {known}")


def _reload(attendant: Attendant, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not handles(attendant.parent, signal.SIGHUP):
        raise ControlError("it ignores SIGHUP, because nohup has started it: restart it")
    log(logger, logging.INFO, "reloading, as a control message asks")
    os.kill(attendant.parent, signal.SIGHUP)  # with which this process ends, if it is another one
    return {}


def _cancel(attendant: Attendant, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"found": interrupts.begin(attendant, fields["jobs"])}


COMMANDS: dict[str, Command] = {
    "list": _list,
    "stack": _stack,
    "reload": _reload,
    "cancel": _cancel,
}


def make_service() -> Service | None:
    """Return the service of the attendant; None if jobs never leave this process."""
    if get_backend_class().local:
        return None
    gearman_store_errors_total.share()
    control = Control()
    return Service("control", control.turn, wake=control.wake)
