"""The job server that `gearman_worker --with-server` runs beside its workers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from ..backends import backend_settings, parse_servers
from ..jobserver.serving import (
    AddressInUse,
    CannotServe,
    Options,
    check_room,
    finish,
    is_loopback,
    listen,
)
from ..supervisor import Scoreboard, Slot
from ..supervisor.reload import is_taking_over
from ..utils.records import get_logger

logger = get_logger(__name__)


def address_in_settings() -> tuple[str, int]:
    """
    Return the first address in GEARMAN_SERVERS, where clients look for a job server.

    It is 127.0.0.1:4730 if that address is of another machine, is reached over TLS, or is invalid.
    """
    with suppress(ImproperlyConfigured):
        _, servers, _ = backend_settings()
        server = parse_servers(servers)[0]
        if is_loopback(server.host) and server.tls is None:
            return server.host, server.port
    return "127.0.0.1", 4730


def own_server(store: Path | None) -> Options:
    """Return the options of a server at the first of GEARMAN_SERVERS, or raise CommandError."""
    _, servers, _ = backend_settings()
    server = parse_servers(servers)[0]
    if not is_loopback(server.host):
        raise CommandError(
            f"--with-server: the first of GEARMAN_SERVERS is {server}, which is not an address "
            "of this machine only. Name '127.0.0.1:4730' first, or run the server "
            "there with gearman_server"
        )
    if server.tls is not None:
        raise CommandError(
            f"--with-server: GEARMAN_SERVERS reaches {server} over TLS, which a server on "
            "this machine does not need. Leave out 'tls', or run the server with "
            "gearman_server --tls-cert"
        )
    return Options(server.host, server.port, store and store.absolute())


def slot_of(options: Options) -> Slot:
    """
    Return the supervisor's slot for the server; raise CommandError if the server cannot start now.
    """
    if not is_taking_over():  # a server that is still running, started by another program
        try:
            check_room(options)
        except AddressInUse as error:
            raise CommandError(
                f"--with-server: {error}. Leave out --with-server to use that one, or name another port "
                "first in GEARMAN_SERVERS"
            ) from error
        except CannotServe as error:
            raise CommandError(str(error)) from error
    return Slot("job server", partial(_prepare, options), is_service=True)


def _prepare(
    options: Options, scoreboard: Scoreboard, channel: socket.socket
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Start the server in this process, and return the functions that run and stop it."""
    loop = asyncio.new_event_loop()
    server, greeting = loop.run_until_complete(listen(options))
    logger.info("%s", greeting)

    def run() -> None:
        loop.run_until_complete(finish(server, options, partial(logger.info, "%s")))
        loop.close()

    return run, partial(loop.call_soon_threadsafe, server.shut_down)
