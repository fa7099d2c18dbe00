"""
The open requests of a client's connection.

The server answers requests in order, so answers are matched by counting. Updates of jobs come in
between and are matched by handle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ...exceptions import BackendError, ProtocolError
from ...protocol.address import ServerAddress
from ...protocol.names import handle_prefix
from ...protocol.packets import Packet, PacketType, to_number, to_text
from ..base import JobStatus, refusal
from ..remote import deliver_update
from .forgetting import Released
from .submission import GearmandSubmission, QueuedJobs, StatusQuery
from .updates import JOB_CREATED, UPDATES

Request = GearmandSubmission | QueuedJobs | StatusQuery


class OpenRequests:
    """
    The requests without an answer, in their order, and the jobs without an outcome, by handles.

    `late` returns the stand-in for a job that was given up before the server answered.
    """

    def __init__(
        self, server: ServerAddress, late: Callable[[GearmandSubmission], Released]
    ) -> None:
        self.unanswered: deque[Request] = deque()
        self.running: dict[bytes, list[GearmandSubmission | Released]] = {}
        self.prefix = handle_prefix(server)
        self._server = server
        self._late = late

    @property
    def is_one(self) -> bool:
        """True if exactly one answer or outcome is to come."""
        if len(self.unanswered) + len(self.running) != 1:
            return False
        return not self.unanswered or type(self.unanswered[0]) is not QueuedJobs

    def take(self, packets: Iterable[Packet]) -> bool:
        """
        Distribute packets; return True if one of them answers a request.

        Raises ProtocolError for an answer that no request can have.
        """
        has_answer = False
        for kind, args in packets:
            if (update := UPDATES.get(kind)) is not None:
                # gearmand adds a NUL to the handle when it converts an exception to a WORK_FAIL
                deliver_update(self.running, args[0].rstrip(b"\0"), update(*args[1:]))
                continue
            if kind is JOB_CREATED:
                self._create(args)
            else:
                self._answer(kind, args)
            has_answer = True
        return has_answer

    def _create(self, handles: Sequence[bytes]) -> None:
        """Give handles to the oldest requests."""
        place = 0
        while place < len(handles):
            slot = self.unanswered[0] if self.unanswered else None
            if type(slot) is QueuedJobs:
                place += slot.take(handles[place:])
                if slot.left:
                    return
            elif isinstance(slot, GearmandSubmission):
                handle = handles[place]
                if slot.error is None:
                    slot.handle = self.prefix + to_text(handle)
                if not slot.spec.background:
                    waiting = slot if slot.error is None else self._late(slot)
                    self.running.setdefault(handle, []).append(waiting)
                place += 1
            else:
                raise ProtocolError(f"job server {self._server} sent {JOB_CREATED.name} unasked")
            self.unanswered.popleft()

    def _answer(self, kind: PacketType, args: Sequence[bytes]) -> None:
        """Answer the oldest request with another packet than JOB_CREATED."""
        slot = self.unanswered[0] if self.unanswered else None
        if kind is PacketType.STATUS_RES and isinstance(slot, StatusQuery):
            known, running, numerator, denominator = map(to_number, args[1:])
            slot.status = JobStatus(bool(known), bool(running), numerator, denominator)
        elif kind is PacketType.ERROR and slot is not None:
            slot.refuse(refusal(self._server, *map(to_text, args)))
            if type(slot) is QueuedJobs and slot.left:
                return
        else:
            raise ProtocolError(f"job server {self._server} sent {kind.name} unasked")
        self.unanswered.popleft()

    def lose(self, error: BackendError) -> None:
        """Fail all requests; outcomes cannot arrive any more."""
        while self.unanswered:
            self.unanswered.popleft().lose(error)
        self.running.clear()
