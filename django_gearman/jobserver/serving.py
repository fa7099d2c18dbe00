"""Service of a job server until a signal stops it, with messages for the user."""

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

#: Called with a line of text for the user.
Announce = Callable[[str], object]


class CannotServe(Exception):
    """The error if the server cannot start; its text names the reason and a remedy."""


class AddressInUse(CannotServe):
    """The error if another program listens at the address."""


@dataclass(frozen=True)
class Options:
    """Options of a server. `port` 0 chooses a free one."""

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
        if is_loopback(self.host):
            return
        if self.allow_remote is None:
            raise CannotServe(
                f"--host {self.host} lets other machines connect, and anyone who connects may run any "
                "job. Add --allow-remote to allow this"
            )
        if self.allow_remote != "insecure" and not self.tls_cert:
            raise CannotServe(
                f"--host {self.host} --allow-remote: without TLS, everyone on the network can "
                "read and change jobs. Name --tls-cert, --tls-key and --tls-ca. If a "
                "firewall keeps others away, use --allow-remote insecure"
            )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach an address."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def tls_context(options: Options) -> ssl.SSLContext | None:
    """
    Return the TLS context, or None without a certificate; raise CannotServe if a file is wrong.
    """
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
            f"--tls-cert {options.tls_cert} and its key {key} do not match: {error}"
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
    """Serve until SIGTERM, SIGINT or the admin command `shutdown`; raise CannotServe on failure."""
    try:
        asyncio.run(_serve(options, announce))
    except AddressInUse as error:
        raise CannotServe(
            f"{error}. Stop that one, or choose a port: --port 0 picks a free one"
        ) from error


def check_room(options: Options) -> None:
    """Raise CannotServe if a server with these options could not start now."""

    async def try_it() -> None:
        await (await _prepare(options)).stop()

    asyncio.run(try_it())


async def _serve(options: Options, announce: Announce) -> None:
    def tell(line: str) -> None:
        with contextlib.suppress(OSError):  # the output has no reader
            announce(line)

    server, greeting = await listen(options)
    _stop_on_signals(server)
    tell(f"{greeting}. Quit with CONTROL-C.")
    await finish(server, options, tell)


async def _prepare(options: Options) -> JobServer:
    """Open the store and reserve the address."""
    options.check()
    tls = tls_context(options)
    try:
        server = JobServer(store=options.store, max_queued=options.max_queued)
    except JournalError as error:
        raise CannotServe(str(error)) from error
    try:
        await server.bind(options.host, options.port, tls=tls)
    except OSError as error:
        await server.stop()
        raise _refusal(options, error) from error
    return server


async def listen(options: Options) -> tuple[JobServer, str]:
    """Start a server; return it, with a description. Raises CannotServe on failure."""
    server = await _prepare(options)
    try:
        addresses = await server.start()
    except OSError as error:  # another program was faster
        await server.stop()
        raise _refusal(options, error) from error
    if not is_loopback(options.host) and options.tls_cert is None:
        logger.warning(
            "%s is open to other machines without TLS: anyone who reaches it may run any job",
            options.host,
        )
    return server, _greeting(options, server, addresses)


async def finish(server: JobServer, options: Options, announce: Announce) -> None:
    """Serve until the shutdown, end the server, and report lost jobs."""
    await server.wait_shutdown()
    announce(_farewell(options, await server.stop()))


def _stop_on_signals(server: JobServer) -> None:
    loop, stop = asyncio.get_running_loop(), server.shut_down
    numbers = [signal.SIGTERM, signal.SIGINT]
    hangup = getattr(signal, "SIGHUP", None)  # of a terminal that is closed; nohup has it ignored
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    for number in numbers:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def _refusal(options: Options, error: OSError) -> CannotServe:
    where = _place(options.host, options.port)
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"{where} is in use, perhaps by another job server")
    if error.errno == errno.EACCES:
        return CannotServe(f"{where}: this user may not listen there; choose a port above 1023")
    reason = str(error.strerror or error).rpartition(": ")[2]  # asyncio's own text differs
    return CannotServe(f"{where}: {reason}; name an address of this machine")


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _greeting(options: Options, server: JobServer, addresses: list[tuple[str, int]]) -> str:
    where = " and ".join(_place(*address) for address in addresses)
    if options.store is None:
        kept = "jobs in memory, lost when it ends (--store FILE keeps background jobs)"
    else:
        count = server.job_count
        kept = f"background jobs kept in {options.store} ({count} found there)"
    secure = " over TLS" if options.tls_cert else ""
    return f"Gearman job server on {where}{secure}: {kept}"


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
