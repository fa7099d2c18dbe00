"""
The names of OpenTelemetry's conventions for messaging systems, version 1.44.

They are still in development, so the package that has them is not depended on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from ...protocol.address import ServerAddress

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
MESSAGE_COUNT = "messaging.batch.message_count"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

SENT_MESSAGES = "messaging.client.sent.messages"
OPERATION_DURATION = "messaging.client.operation.duration"
PROCESS_DURATION = "messaging.process.duration"

#: The limits of the buckets of durations, in seconds, as the conventions give them.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# Not of the conventions, which have no name for them.
JOB = "gearman.job.name"
ATTEMPT = "gearman.job.attempt"


@lru_cache(maxsize=256)
def operation(name: str, queue: str, error: str = "", server: str = "") -> Mapping[str, str | int]:
    """
    Return the attributes of an operation on a queue; "" for several queues, and for no error.

    `server` is the address in a job's handle, or "". The attributes are kept, as each job needs
    them.
    """
    found: dict[str, str | int] = {SYSTEM: "gearman", OPERATION_NAME: name, OPERATION_TYPE: name}
    if queue:
        found[DESTINATION] = queue
    if error:
        found[ERROR_TYPE] = error
    if ":" in server:  # otherwise it is inside this process: "memory" or "eager", for example
        with suppress(TypeError, ValueError):
            address = ServerAddress.parse(server)
            found |= {SERVER_ADDRESS: address.host, SERVER_PORT: address.port}
    return found


def type_of(error: BaseException) -> str:
    """Return the value of `error.type` for an exception."""
    kind = type(error)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
