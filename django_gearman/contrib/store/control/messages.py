"""
Signed messages to supervisors, and their answers.

Everybody who reaches the job server can send a job to a control function, and can pretend to be a
supervisor. So both sides sign with SECRET_KEY. A message names its supervisor and is valid for a short
time. Each answer names the message.

A message that is sent again does no harm. A supervisor takes each message once. A command that is
not safe to repeat also names the `life` of the attendant that it is for, because an attendant that
was replaced has forgotten the messages of the one before.
"""

from __future__ import annotations

import re
import socket
import time
from typing import Any, NamedTuple

from django.core import signing
from django.utils.crypto import get_random_string

from .... import conf
from ....protocol.names import CONTROL
from ....utils.text import printable
from .values import ControlError

#: Seconds for which a message is valid.
VALID_SECONDS = 30
#: Commands that must not be repeated.
ONCE = frozenset({"reload"})

_QUESTION, _ANSWER = "django_gearman.control", "django_gearman.control.answer"
_REFUSED = b"refused: "
_LONGEST = 300  # characters of a refusal
_NAME = re.compile(re.escape(CONTROL) + r"(\S+:[0-9]{1,10})")


def host_name() -> str:
    """Return the name of this host, as the names of functions have it."""
    return plain(socket.gethostname())


def plain(host: str) -> str:
    """Return the name of a host, as the names of functions have it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host)[:150] or "-"


def function_of(supervisor: str) -> str:
    """Return the function of a supervisor, by its name "<host>:<pid>"."""
    return conf.function_name(CONTROL + supervisor)


def supervisor_of(function: str) -> str | None:
    """Return the name of the supervisor of a function; None for other functions and projects."""
    found = _NAME.search(function)
    return found[1] if found and function_of(found[1]) == function else None


class Question(NamedTuple):
    """A message to a supervisor, and the word that its answer repeats."""

    message: bytes
    nonce: str


def ask(function: str, command: str, **arguments: Any) -> Question:
    """Return a signed command."""
    nonce = get_random_string(22)
    fields = {"to": function, "command": command, "nonce": nonce, "at": time.time()}
    message = signing.dumps({**arguments, **fields}, salt=_QUESTION, compress=True)
    return Question(message.encode(), nonce)


def read(message: bytes, function: str) -> dict[str, Any]:
    """Return a command; raise ControlError unless it is signed, fresh, and for this function."""
    try:
        text = message.decode("ascii")
        fields: dict[str, Any] = signing.loads(text, salt=_QUESTION, max_age=VALID_SECONDS)
    except signing.SignatureExpired:
        raise ControlError(
            f"the message is older than {VALID_SECONDS} s: compare the clocks of both hosts"
        ) from None
    except (signing.BadSignature, UnicodeDecodeError):
        raise ControlError(
            "the message is not signed with the SECRET_KEY of this supervisor's project"
        ) from None
    if fields["at"] > time.time() + VALID_SECONDS:
        raise ControlError("the message is from the future: compare the clocks of both hosts")
    if fields["to"] != function:
        raise ControlError(f"the message is for another supervisor, {fields['to']}")
    return fields


def answer(nonce: str, **fields: Any) -> bytes:
    """Return the signed answer to a command."""
    return signing.dumps({**fields, "nonce": nonce}, salt=_ANSWER, compress=True).encode()


def refusal(error: ControlError) -> bytes:
    """Return the answer to a command that is refused; it is not signed."""
    return _REFUSED + str(error).encode()


def read_answer(data: bytes, nonce: str) -> dict[str, Any]:
    """Return the fields of an answer; raise ControlError for a refusal or a wrong answer."""
    if data.startswith(_REFUSED):
        raise ControlError(printable(data.decode(errors="replace"), _LONGEST))
    try:
        fields: dict[str, Any] = signing.loads(
            data.decode("ascii"), salt=_ANSWER, max_age=VALID_SECONDS
        )
    except (signing.BadSignature, UnicodeDecodeError):
        raise ControlError("its answer is not signed with the SECRET_KEY of this project") from None
    if fields["nonce"] != nonce:
        raise ControlError("its answer belongs to another message")
    return fields
