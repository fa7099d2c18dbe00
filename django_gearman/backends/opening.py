"""Opening connections to job servers in a limited time."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..exceptions import BackendError, ConnectionLost
from ..protocol.address import ServerAddress
from ..protocol.admin import parse_software
from ..protocol.messages import ServerAnswer
from ..utils.clock import monotonic
from .connection import Connection
from .reach import Race, Standing, at_once
from .sockets import Address

_HEAD_START = 0.25  # seconds until the next address is tried as well
PASSED_OVER = 10.0  # seconds for which a silent address is tried last, at first
_SOFTWARE_SECONDS = 0.5  # for an answer that is not important
_LOOK_UPS = 8  # of one name at the same time: each lasts until the system's own limit

#: The addresses that were silent, of names with several.
addresses_standing: Standing[Address] = Standing()
_looked_up: Counter[str] = Counter()  # names, and the number of threads that look up each


def open_connection(
    server: ServerAddress, *, connect_timeout: float = 5.0, send_timeout: float = 30.0
) -> Connection:
    """
    Open a connection within `connect_timeout` seconds in all.

    If the name has several addresses, the first one that answers is used.
    """
    deadline = monotonic() + connect_timeout
    addresses = look_up(server, connect_timeout)
    addresses.sort(key=lambda address: addresses_standing.passed_over(address, PASSED_OVER))

    def attempt(address: Address) -> Connection:
        patience = max(0.001, deadline - monotonic())
        return Connection(
            server, connect_timeout=patience, send_timeout=send_timeout, address=address
        )

    if len(addresses) == 1:
        return attempt(addresses[0])
    attempts = {address: partial(attempt, address) for address in addresses}
    race = Race(attempts, addresses_standing, Connection.close)
    won = race.run([_HEAD_START] * len(attempts), deadline)
    if won is not None:
        return won[1]
    silent = f"no answer in {connect_timeout:.3g} s"
    reasons = [f"{address[1][0]}: {race.errors.get(address, silent)}" for address in race.began]
    raise ConnectionLost(f"job server {server}: {'; '.join(reasons)}")


def look_up(server: ServerAddress, timeout: float) -> list[Address]:
    """Return the addresses of a server's name; in a thread, because the system may take long."""
    name = server.host
    for family, zeros in ((socket.AF_INET, ()), (socket.AF_INET6, (0, 0))):
        with contextlib.suppress(OSError, UnicodeError, ValueError):  # it is a name
            socket.inet_pton(family, name)
            return [(family, (name, server.port, *zeros))]
    ask = partial(socket.getaddrinfo, name, server.port, type=socket.SOCK_STREAM)
    try:
        if _looked_up[name] >= _LOOK_UPS:
            raise ConnectionLost(f"job server {server}: {_LOOK_UPS} look-ups of its name hang")
        race = Race({name: partial(_counted, name, ask)}, Standing(), id)
        won = race.run([], monotonic() + timeout)
        if won is not None:
            found = [(family, address) for family, _, _, _, address in won[1]]
            return list(dict.fromkeys(found))
        if name in race.errors:
            raise race.errors[name]
    except (OSError, UnicodeError) as error:  # UnicodeError: an impossible host name
        raise ConnectionLost(f"job server {server}: {error}") from error
    raise ConnectionLost(f"job server {server}: its name was not looked up in {timeout:.3g} s")


def _counted(name: str, ask: Callable[[], Any]) -> Any:
    _looked_up[name] += 1
    try:
        return ask()
    finally:
        _looked_up[name] -= 1


def ping_all(servers: Iterable[ServerAddress], timeout: float) -> dict[str, BackendError | None]:
    """Ping several servers at the same time; return the errors, by address."""
    return at_once({str(server): partial(ping, server, timeout) for server in servers})


def ping(server: ServerAddress, timeout: float) -> BackendError | None:
    """Check that a server answers; return the error, or None if it answered in time."""
    return probe(server, timeout, asks_software=False).error


def probe_all(servers: Iterable[ServerAddress], timeout: float) -> dict[str, ServerAnswer]:
    """Probe several servers at the same time; return the answers, by address."""
    return at_once({str(server): partial(probe, server, timeout) for server in servers})


def probe(server: ServerAddress, timeout: float, *, asks_software: bool = True) -> ServerAnswer:
    """
    Measure how soon a server answers, with connecting, and ask for its software.

    It may take `timeout` seconds.
    """
    began = monotonic()
    deadline = began + timeout
    try:
        with contextlib.closing(open_connection(server, connect_timeout=timeout)) as connection:
            connection.echo(max(0.0, deadline - monotonic()))
            seconds = monotonic() - began
            software = _software_of(connection, deadline) if asks_software else ""
    except BackendError as error:
        return ServerAnswer(error=error)
    return ServerAnswer(seconds, software)


def _software_of(connection: Connection, deadline: float) -> str:
    """Ask a server for its program and version; not every server answers."""
    answers = ["", ""]
    for place, command in enumerate(("version", "software")):
        patience = min(_SOFTWARE_SECONDS, deadline - monotonic())
        with contextlib.suppress(BackendError):
            answers[place] = connection.ask(command, max(0.0, patience), is_line=True)
    return parse_software(*answers)
