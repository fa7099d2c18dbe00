"""The address of a job server, as written in a setting."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from ..utils.text import repr_of

DEFAULT_PORT = 4730

_TLS_CONTEXT = {"cafile", "capath", "cadata"}
_TLS_PATHS = {"cafile", "capath", "certfile", "keyfile"}
_PASSWORD = (str, bytes, bytearray)
_TLS_IDENTITY = {"certfile", "keyfile", "password"}
_TLS = _TLS_CONTEXT | _TLS_IDENTITY | {"server_hostname", "check_hostname"}


def _is_host_name(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable() or set(value) & set(" /@"):
        return False
    try:
        return bool(value.encode("idna"))
    except UnicodeError:
        return False


@dataclass(frozen=True)
class ServerAddress:
    """The address of a job server, with TLS arguments if the connection uses TLS."""

    host: str
    port: int = DEFAULT_PORT
    tls: Mapping[str, Any] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, value: object) -> ServerAddress:
        """
        Parse an element of the setting.

        It is "host", "host:port", "[::1]:port", ("host", port) or a dict with "host" and optionally
        "port" and "tls". Raises ValueError or TypeError for anything else.
        """
        match value:
            case ServerAddress():
                return value
            case str():
                return cls._checked(*cls._split(value))
            case (str() as host, port) if isinstance(value, (tuple, list)):
                return cls._checked(host, port)
            case {"host": str() as host, **rest} if rest.keys() <= {"port", "tls"}:
                return cls._checked(host, rest.get("port", DEFAULT_PORT), rest.get("tls"))
        raise TypeError(
            f"{value!r} is not the address of a job server: write 'host', 'host:port', '[::1]:4730', "
            "('host', port) or {'host': ..., 'port': ..., 'tls': {...}}"
        )

    @staticmethod
    def _split(text: str) -> tuple[str, object]:
        if "://" in text:
            raise ValueError(f"{text!r} is a URL; write host:port, for example '127.0.0.1:4730'")
        if text.startswith("["):
            host, bracket, port = text[1:].partition("]")
            if bracket and (not port or port.startswith(":")):
                return host, port[1:] if port else DEFAULT_PORT
        elif text.count(":") <= 1:
            host, colon, port = text.partition(":")
            return host, port if colon else DEFAULT_PORT
        raise ValueError(f"{text!r} is not host:port; write an IPv6 address as '[::1]:4730'")

    @classmethod
    def _checked(cls, host: str, port: object, tls: object = None) -> ServerAddress:
        if not _is_host_name(host):
            raise ValueError(f"{host!r} is not a host name")
        number = int(port) if isinstance(port, str) and port.isascii() and port.isdigit() else port
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 65536:
            raise ValueError(
                f"{port!r} is not a port number, in the address of job server {host!r}"
            )
        if tls is not None and not isinstance(tls, Mapping):
            raise TypeError(
                f"'tls' of job server {host!r} must be a dict, not {tls!r}; {{}} will do"
            )
        if tls is not None and (unknown := tls.keys() - _TLS):
            raise ValueError(
                f"'tls' of job server {host!r} has unknown {sorted(unknown)}; known: {sorted(_TLS)}"
            )
        if tls is not None and not _is_host_name(name := tls.get("server_hostname", host)):
            raise ValueError(
                f"'server_hostname' of job server {host!r} is not a host name: {name!r}"
            )
        if tls is not None and not isinstance(check := tls.get("check_hostname"), (bool, NoneType)):
            raise TypeError(
                f"'check_hostname' of job server {host!r} must be True or False, not {check!r}"
            )
        return cls(host, number, tls)

    def tls_context(self) -> ssl.SSLContext:
        """
        Return the context for this server's TLS arguments; raise ValueError, with the wrong
        argument.
        """
        tls = {name: value for name, value in (self.tls or {}).items() if value is not None}
        for name in sorted(_TLS_PATHS & tls.keys()):
            self._check_readable(name, tls[name])
        authorities = {name: tls[name] for name in sorted(_TLS_CONTEXT & tls.keys())}
        try:
            context = ssl.create_default_context(**authorities)
        except (OSError, TypeError, ValueError) as error:
            names = ", ".join(map(repr, authorities)) or "the certificates of this system"
            raise self._wrong_tls(f"{names}: no certificate can be loaded: {error}") from error
        if identity := _TLS_IDENTITY & tls.keys():
            self._load_identity(context, {name: tls[name] for name in identity})
        context.check_hostname = bool(tls.get("check_hostname", True))
        return context

    def _check_readable(self, name: str, path: Any) -> None:
        try:
            if name == "capath":
                os.listdir(os.fspath(path))
            else:
                with open(os.fspath(path), "rb"):
                    pass
        except (OSError, TypeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise self._wrong_tls(f"{name!r} is {repr_of(path)}: {reason}") from error

    def _load_identity(self, context: ssl.SSLContext, identity: Mapping[str, Any]) -> None:
        password = identity.get("password")
        was_asked = False

        def tell_password() -> Any:  # without it OpenSSL would ask at the terminal, and wait
            nonlocal was_asked
            was_asked = True
            return password() if callable(password) else password or ""

        if "certfile" not in identity:
            raise self._wrong_tls(f"{', '.join(map(repr, sorted(identity)))} without 'certfile'")
        if not (password is None or callable(password) or isinstance(password, _PASSWORD)):
            raise self._wrong_tls(
                f"'password' must be a string or a function, not a {type(password).__name__}"
            )
        files = {name: identity[name] for name in ("certfile", "keyfile") if name in identity}
        try:
            context.load_cert_chain(**files, password=tell_password)
        except (OSError, TypeError, ValueError) as error:
            reason = f"not a certificate and its key, in PEM: {error}"
            if was_asked:
                given = "does not open it" if password else "is not given"
                reason = f"the key is encrypted, and 'password' {given}"
            elif getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                reason = "the key belongs to another certificate"
            files_given = ", ".join(f"{name!r} is {repr_of(path)}" for name, path in files.items())
            raise self._wrong_tls(f"{files_given}: {reason}") from error

    def _wrong_tls(self, reason: str) -> ValueError:
        return ValueError(f"'tls' of job server {self} cannot be used: {reason}")
