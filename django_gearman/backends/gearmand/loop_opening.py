"""Opening connections on an event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import closing, suppress
from functools import partial
from typing import Any

from ...exceptions import BackendError, ConnectionLost
from ...protocol.address import ServerAddress
from ...utils.clock import monotonic
from ..opening import PASSED_OVER, addresses_standing, look_up
from ..sockets import Address, keep_alive
from .loop_channel import LoopChannel
from .options import GearmandOptions

_GOODBYE_SECONDS = 1.0  # for the close message of TLS


async def open_channel(server: ServerAddress, options: GearmandOptions) -> LoopChannel:
    """
    Open a connection within `connect_timeout` seconds in all, the name lookup included.

    The addresses of a name are tried one after the other. Raises ConnectionLost.
    """
    message = f"job server {server}: "
    errors: list[BackendError] = []
    deadline = monotonic() + options.connect_timeout
    addresses = await _look_up(server, options.connect_timeout)
    addresses.sort(key=lambda address: addresses_standing.passed_over(address, PASSED_OVER))
    for place, address in enumerate(addresses):
        seconds = max(0.001, (deadline - monotonic()) / (len(addresses) - place))
        began = monotonic()
        try:
            async with asyncio.timeout(seconds):
                channel = await _connect(server, options, address)
        except TimeoutError:
            errors.append(ConnectionLost(f"{message}no answer in {seconds:.3g} s"))
        except BackendError as error:
            errors.append(error)
        else:
            addresses_standing.answered(address)
            return channel
        addresses_standing.failed(address, monotonic() - began)
    raise errors[0] if len(errors) == 1 else ConnectionLost("; ".join(map(str, errors)))


async def _connect(
    server: ServerAddress, options: GearmandOptions, address: Address
) -> LoopChannel:
    opened = await _open_socket(server, address)
    make = partial(LoopChannel, server, options)
    message = f"job server {server}: "
    try:
        _, channel = await asyncio.get_running_loop().create_connection(
            make, sock=opened, **_tls(server)
        )
    except (OSError, ValueError) as error:  # ValueError: an impossible name for TLS
        opened.close()
        reason = error if server.tls is None else f"TLS: {error}"
        raise ConnectionLost(f"{message}{reason}") from error
    except BaseException:
        opened.close()
        raise
    try:
        await channel.greet()
    except BaseException:
        channel.close()
        raise
    return channel


async def _open_socket(server: ServerAddress, address: Address) -> socket.socket:
    family, socket_address = address
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, socket_address)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(opened)
    except OSError as error:
        opened.close()
        reason = OSError(error.errno, os.strerror(error.errno or 0))  # without asyncio's own words
        raise ConnectionLost(f"job server {server}: {reason}") from error
    except BaseException:
        opened.close()
        raise
    return opened


def _tls(server: ServerAddress) -> dict[str, Any]:
    """Return the arguments of `create_connection` for TLS."""
    if server.tls is None:
        return {}
    try:
        context = server.tls_context()
    except ValueError as error:
        raise ConnectionLost(f"job server {server}: TLS: {error}") from error
    name = server.tls.get("server_hostname", server.host)
    return {
        "ssl": context,
        "server_hostname": name,
        "ssl_shutdown_timeout": _GOODBYE_SECONDS,
    }


async def _look_up(server: ServerAddress, timeout: float) -> list[Address]:
    """Look a name up in a separate thread: the threads of the loop may all be busy."""
    if _is_address(server.host):
        return look_up(server, timeout)
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()

    def answer(addresses: list[Address] | None, error: Exception | None) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses or [])

    def ask() -> None:
        addresses, problem = None, None
        try:
            addresses = look_up(server, timeout)
        except Exception as error:  # noqa: BLE001 - it is for the task
            problem = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(answer, addresses, problem)

    threading.Thread(target=ask, name="gearman-connect", daemon=True).start()
    return await found


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, UnicodeError, ValueError):
            socket.inet_pton(family, host)
            return True
    return False


async def ask_admin(server: ServerAddress, options: GearmandOptions, command: str) -> str:
    """Return the answer to an admin command that ends with a full stop; raise ConnectionLost."""
    [address, *_] = await _look_up(server, options.connect_timeout)
    opened = await _open_socket(server, address)
    reader, writer = await asyncio.open_connection(sock=opened, **_tls(server))
    with closing(writer):
        try:
            writer.write(f"{command}\r\n".encode())
            lines = []
            while (line := await reader.readline()) not in (b".\n", b""):
                lines.append(line)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"job server {server}: {error}") from error
    return b"".join(lines).decode(errors="replace")
