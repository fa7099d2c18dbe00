"""
Asking the supervisors.

The job servers know them: each serves a private function. All servers are asked at once, each in a
thread. The thread of the server that first names a supervisor asks it, in the foreground. So a server
or a supervisor that hangs delays its own answer only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ....backends import backend_settings, get_backend_class, parse_servers, use_backend
from ....backends.base import BaseBackend, JobSpec, Outcome, Submission, WorkComplete
from ....backends.reach import at_once
from ....exceptions import BackendError, JobError
from ....protocol.address import ServerAddress
from ....utils.clock import monotonic
from ....utils.numbers import check_seconds
from ....utils.waiting import submit_by
from . import messages
from .values import Answers, ControlError, SupervisorInfo, from_json

#: Returns the arguments of the command for a supervisor; None asks it nothing.
Arguments = Callable[[str], Mapping[str, Any] | None]


@dataclass
class _Round:
    """One question to all supervisors: the answers so far, by supervisor, and the problems."""

    command: str
    arguments: Arguments
    timeout: float
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _asked: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._until = monotonic() + self.timeout

    def ask(self, address: ServerAddress) -> None:
        """Ask the supervisors that this server knows, and that no other server was faster to name."""
        token = submit_by.set(self._until)
        backend = use_backend([address])
        try:
            mine = self._take(self._supervisors(backend))
            questions = {
                name: messages.ask(messages.function_of(name), self.command, **arguments)
                for name in mine
                if (arguments := self.arguments(name)) is not None
            }
            specs = [
                JobSpec(messages.function_of(name), question.message)
                for name, question in questions.items()
            ]
            sent = backend.submit(specs) if specs else []
            for (name, question), submission in zip(questions.items(), sent, strict=True):
                self._collect(name, question, submission)
        except BackendError as error:
            self.problems.append(str(error))
        finally:
            submit_by.reset(token)
            backend.close()

    def _supervisors(self, backend: BaseBackend) -> list[str]:
        functions = {name for worker in backend.workers() for name in worker.functions}
        named = [messages.supervisor_of(function) for function in functions]
        return sorted(name for name in named if name is not None)

    def _take(self, names: list[str]) -> list[str]:
        with self._lock:
            mine = [name for name in names if name not in self._asked]
            self._asked.update(mine)
        return mine

    def _collect(self, name: str, question: messages.Question, submission: Submission) -> None:
        try:
            data = _outcome_of(submission, self._until)
            if data is None:
                raise ControlError(f"it has not answered in {self.timeout:g} s")
            self.answers[name] = messages.read_answer(data, question.nonce)
        except (BackendError, JobError, ControlError) as error:
            self.problems.append(f"supervisor {name}: {error}")


def _outcome_of(submission: Submission, until: float) -> bytes | None:
    """Return the result of a job, or None if there is none at the given monotonic time."""
    while (update := submission.next_update(max(0.0, until - monotonic()))) is not None:
        if isinstance(update, WorkComplete):
            return bytes(update.data)
        if isinstance(update, Outcome):
            raise ControlError("it has failed to answer; its log says why")
    submission.release()
    return None


def ask_all(command: str, timeout: float, arguments: Arguments = lambda name: {}) -> _Round:
    """Send a command to all supervisors for which there are `arguments`; collect the answers."""
    asked = _Round(command, arguments, check_seconds(timeout, "timeout"))
    if get_backend_class().local:
        backend, _, _ = backend_settings()
        asked.problems.append(
            f"GEARMAN_BACKEND is {backend!r}: jobs run in the process that submits them, and there is "
            "no supervisor to ask"
        )
        return asked
    _, servers, _ = backend_settings()
    at_once({each: partial(asked.ask, each) for each in parse_servers(servers)})
    return asked


def list_supervisors(timeout: float = 1.0) -> Answers:
    """
    Ask all supervisors which processes and jobs they run; this takes up to `timeout` seconds.

    A job server or a supervisor that does not answer is a problem in the result.
    """
    asked = ask_all("list", timeout)
    return Answers(_supervisors(asked), tuple(asked.problems))


def _supervisors(asked: _Round) -> tuple[SupervisorInfo, ...]:
    found = []
    for name, answer in asked.answers.items():
        try:
            found.append(from_json(answer["supervisor"]))
        except (KeyError, TypeError, ValueError) as error:
            asked.problems.append(
                f"supervisor {name}: its answer, perhaps of another release, lacks something: {error!r}"
            )
    return tuple(sorted(found, key=lambda each: (each.host, each.pid)))


def stack(supervisor: str, pid: int, timeout: float = 1.0) -> str:
    """
    Return the stacks of all threads of a process of a supervisor, named "<host>:<pid>".

    Takes up to `timeout` seconds. Raises ControlError if the supervisor does not answer, or has no
    such process.
    """
    arguments = {"pid": pid}
    asked = ask_all("stack", timeout, lambda name: arguments if name == supervisor else None)
    if supervisor not in asked.answers:
        raise _no_answer(supervisor, asked)
    return str(asked.answers[supervisor]["stack"])


def reload(supervisor: str | None = None, timeout: float = 1.0) -> Answers:
    """
    Make a supervisor reload its code, as SIGHUP does; None means all supervisors.

    Returns the supervisors that reload, with their state before it. Takes up to twice `timeout`
    seconds. Raises ControlError if the named supervisor does not answer.
    """
    found = ask_all("list", timeout)
    lives = {
        name: {"life": answer["life"]}
        for name, answer in found.answers.items()
        if supervisor in (None, name)
    }
    if supervisor is not None and not lives:
        raise _no_answer(supervisor, found)
    asked = ask_all("reload", timeout, lives.get)
    if supervisor is not None and not asked.answers:
        raise _no_answer(supervisor, asked)
    reloading = tuple(each for each in _supervisors(found) if each.name in asked.answers)
    problems = dict.fromkeys([*found.problems, *asked.problems])
    return Answers(reloading, tuple(problems))


def _no_answer(supervisor: str, asked: _Round) -> ControlError:
    about = [each for each in asked.problems if each.startswith(f"supervisor {supervisor}: ")]
    if about:
        return ControlError(about[0])
    reasons = "".join(f"; {each}" for each in asked.problems)
    return ControlError(
        f"no job server knows a supervisor {supervisor!r}: gearman_control list shows those that "
        f"run{reasons}"
    )
