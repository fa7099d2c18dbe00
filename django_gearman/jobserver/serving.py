"""Run a job server until it is told to stop, and say so: what it is, where, and what is lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..utils.records import get_logger
from .journal import JournalError
from .server import JobServer, Remains

logger = get_logger(__name__)

#: Called with a line for whoever has started the server.
Announce = Callable[[str], object]


class CannotServe(Exception):
    """The server cannot start; the text says why, and what to do."""


@dataclass(frozen=True)
class Options:
    """Where and how to serve. `port` 0 picks a free one."""

    host: str = "127.0.0.1"
    port: int = 4730
    store: Path | None = None
    max_queued: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    allow_remote: str | None = None  # "tls" or "insecure"

    def check(self) -> None:
        """Raise CannotServe for options that contradict each other."""
        if (self.tls_key or self.tls_ca) and not self.tls_cert:
            raise CannotServe(
                "--tls-key and --tls-ca go with --tls-cert; name the certificate, too"
            )
        if _is_loopback(self.host):
            return
        if self.allow_remote is None:
            raise CannotServe(
                f"--host {self.host} lets other machines connect, and whoever connects may run any job. "
                "Add --allow-remote if that is meant"
            )
        if self.allow_remote != "insecure" and not self.tls_cert:
            raise CannotServe(
                f"--host {self.host} --allow-remote: without TLS, everyone on the network reads and "
                "changes jobs. Name --tls-cert, --tls-key and --tls-ca; or, where a firewall keeps "
                "others away, write --allow-remote insecure"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def tls_context(options: Options) -> ssl.SSLContext | None:
    """Return the server's side of TLS, None without a certificate; CannotServe if a file is wrong."""
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for option, path in (
        ("--tls-cert", options.tls_cert),
        ("--tls-key", options.tls_key),
        ("--tls-ca", options.tls_ca),
    ):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise CannotServe(f"{option} {path} cannot be read: {error.strerror}") from error
    key = options.tls_key or options.tls_cert
    try:
        context.load_cert_chain(options.tls_cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise CannotServe(
            f"--tls-cert {options.tls_cert} and its key {key} do not fit: {error}"
        ) from error
    if options.tls_ca is not None:
        try:
            context.load_verify_locations(options.tls_ca)
        except ssl.SSLError as error:
            raise CannotServe(f"--tls-ca {options.tls_ca} has no certificates: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    raise ValueError("the key has a password; store it without one, readable by the server only")


def run(options: Options, announce: Announce) -> None:
    """Serve until SIGTERM, SIGINT or an administrator's `shutdown`; CannotServe if that cannot be."""
    options.check()
    asyncio.run(_serve(options, tls_context(options), announce))


async def _serve(options: Options, tls: ssl.SSLContext | None, announce: Announce) -> None:
    try:
        server = JobServer(store=options.store, max_queued=options.max_queued)
    except JournalError as error:
        raise CannotServe(str(error)) from error
    _stop_on_signals(server)
    try:
        address = await server.start(options.host, options.port, tls=tls)
    except OSError as error:
        await server.stop()
        raise CannotServe(_why_not(options, error)) from error
    announce(_greeting(options, server, *address))
    if options.allow_remote == "insecure" and not _is_loopback(options.host) and tls is None:
        logger.warning(
            "%s is open to other machines without TLS: whoever reaches it may run any job",
            options.host,
        )
    await server.wait_shutdown()
    announce(_farewell(options, await server.stop()))


def _stop_on_signals(server: JobServer) -> None:
    loop, stop = asyncio.get_running_loop(), server.shut_down
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def _why_not(options: Options, error: OSError) -> str:
    where = f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is in use, perhaps by another job server. Stop that one, or choose a port: "
            "--port 0 picks a free one"
        )
    if error.errno == errno.EACCES:
        return f"{where}: this user may not listen there; choose a port above 1023"
    reason = str(error.strerror or error).rpartition(": ")[2]  # asyncio's own text begins otherwise
    return f"{where}: {reason}; name an address of this machine"


def _greeting(options: Options, server: JobServer, host: str, port: int) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if options.store is None:
        kept = "jobs in memory, lost when it ends (--store FILE keeps background jobs)"
    else:
        count = server.job_count
        kept = f"background jobs kept in {options.store} ({count} found there)"
    secure = " over TLS" if options.tls_cert else ""
    return f"Gearman job server on {where}{secure}: {kept}. Quit with CONTROL-C."


def _farewell(options: Options, left: Remains) -> str:
    parts = [
        f"{number} {what}"
        for number, what in (
            (left.foreground, "foreground"),
            (left.background, "background"),
        )
        if number
    ]
    lost = f"Jobs lost: {' and '.join(parts)}." if parts else "No job is lost."
    kept = f" Background jobs kept in {options.store}: {left.stored}." if options.store else ""
    return f"The job server has stopped. {lost}{kept}"
