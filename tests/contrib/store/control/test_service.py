"""The commands of one attendant, which are sent to it twice, too late, or wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from django_gearman.backends.base import AssignedJob
from django_gearman.contrib.store.control import ControlError, messages, service
from django_gearman.supervisor import Attendant

FUNCTION = "django_gearman.control:here:1"


@pytest.fixture
def reloads(monkeypatch) -> list[Any]:
    """Return the list of the reloads that were carried out."""
    carried_out: list[Any] = []

    def reload(attendant: Attendant, fields: Any) -> dict[str, Any]:
        carried_out.append(fields["nonce"])
        return {}

    monkeypatch.setitem(service.COMMANDS, "reload", reload)
    return carried_out


@pytest.fixture
def attendant() -> Iterator[Attendant]:
    made = Attendant([], None)
    yield made
    for each in (made._wake, made._written):
        each.close()


def send(control: service.Control, attendant: Attendant, question: messages.Question) -> Any:
    job = AssignedJob("server//H:1", FUNCTION, "", question.message)
    return messages.read_answer(control._carry_out(attendant, job), question.nonce)


def test_an_answer_names_the_life_of_its_attendant_and_the_command_needs_it(attendant, reloads):
    control = service.Control()
    control._life = "first"
    life = send(control, attendant, messages.ask(FUNCTION, "list"))["life"]

    send(control, attendant, messages.ask(FUNCTION, "reload", life=life))

    assert len(reloads) == 1


def test_a_message_that_is_sent_again_is_refused(attendant, reloads):
    control = service.Control()
    question = messages.ask(FUNCTION, "reload", life="")
    send(control, attendant, question)

    with pytest.raises(ControlError, match="'reload' has already been received"):
        send(control, attendant, question)

    assert len(reloads) == 1


def test_a_reload_for_the_attendant_before_is_refused(attendant, reloads):
    question = messages.ask(FUNCTION, "reload", life="first")
    control = service.Control()  # which knows no message of the one before
    control._life = "second"

    with pytest.raises(ControlError, match="has been replaced: try again"):
        send(control, attendant, question)

    assert reloads == []


def test_an_unknown_command_is_refused(attendant):
    with pytest.raises(ControlError, match="not know the command 'explode'; is its release older"):
        send(service.Control(), attendant, messages.ask(FUNCTION, "explode"))


@pytest.mark.parametrize("pid", [0, -1, "1", None, 2**70, [1]])
def test_the_stack_of_a_process_of_others_is_refused(attendant, pid):
    with pytest.raises(ControlError, match="it has no process"):
        send(service.Control(), attendant, messages.ask(FUNCTION, "stack", pid=pid))


@pytest.mark.parametrize("fields", [{}, {"jobs": None}, {"jobs": 7}, {"jobs": ["x"]}, {"pid": {}}])
@pytest.mark.parametrize("command", ["cancel", "stack"])
def test_a_message_of_another_form_is_refused_and_ends_nothing(attendant, caplog, command, fields):
    class Session:
        sent: Any = None

        def send(self, job: AssignedJob, update: Any) -> None:
            self.sent = update

    session = Session()
    question = messages.ask(FUNCTION, command, **fields)
    job = AssignedJob("server//H:1", FUNCTION, "", question.message)

    service.Control()._answer(attendant, session, job)

    with suppress(ControlError):
        assert messages.read_answer(session.sent.data, question.nonce)["found"] == []


def test_messages_are_forgotten_when_they_are_stale_anyway(attendant, monkeypatch):
    control = service.Control()
    send(control, attendant, messages.ask(FUNCTION, "list"))
    now = service.time.monotonic()
    monkeypatch.setattr(service.time, "monotonic", lambda: now + 1000)

    send(control, attendant, messages.ask(FUNCTION, "list"))

    assert len(control._seen) == 1


def test_jobs_that_never_leave_their_process_need_no_service(settings, production):
    settings.GEARMAN_BACKEND = "memory"

    assert service.make_service() is None
