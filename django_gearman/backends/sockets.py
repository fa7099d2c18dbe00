"""Sockets of connections."""

from __future__ import annotations

import socket
from typing import Any

from ..exceptions import ConnectionLost
from ..protocol.address import ServerAddress
from ..utils.clock import monotonic

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}

Address = tuple[int, Any]  # of a socket: the family, and the argument of connect()


def keep_alive(opened: socket.socket) -> None:
    """Make the kernel notice within about a minute that the other side has disappeared."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # some platforms lack some of them
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def open_socket(server: ServerAddress, address: Address | None, timeout: float) -> socket.socket:
    """
    Return a connected non-blocking socket, with TLS if requested; raise ConnectionLost on failure.
    """
    deadline = monotonic() + timeout
    message = f"job server {server}: "
    try:
        context = None if server.tls is None else server.tls_context()
    except ValueError as error:
        raise ConnectionLost(f"{message}TLS: {error}") from error
    try:
        opened = _connect(server, address, timeout)
    except TimeoutError as error:
        raise ConnectionLost(f"{message}it took no connection in {timeout:.3g} s") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: an impossible host name
        raise ConnectionLost(f"{message}{error}") from error
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(opened)
        if server.tls is not None and context is not None:
            opened.settimeout(max(0.001, deadline - monotonic()))
            name = server.tls.get("server_hostname", server.host)
            opened = context.wrap_socket(opened, server_hostname=name)
        opened.setblocking(False)
    except (OSError, ValueError) as error:  # ValueError: an impossible name for TLS
        opened.close()
        reason = f"TLS: {error}" if context is not None else error
        raise ConnectionLost(f"{message}{reason}") from error
    return opened


def _connect(server: ServerAddress, address: Address | None, timeout: float) -> socket.socket:
    if address is None:
        return socket.create_connection((server.host, server.port), timeout)
    family, socket_address = address
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(timeout)
        opened.connect(socket_address)
    except BaseException:
        opened.close()
        raise
    return opened
