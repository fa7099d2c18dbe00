"""The address at which `gearman_worker --metrics` listens."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from ...utils.text import repr_of

_FORM = re.compile(
    r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^:\[\]\s/]*)):(?P<port>[0-9]{1,5})", re.ASCII
)
_BACKLOG = 64  # connections


class ListenAddress(NamedTuple):
    """A host and a port; an empty host means all addresses, and port 0 a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Parse "host:port", ":port" or "[::1]:port"; raise ValueError for anything else."""
        found = _FORM.fullmatch(text)
        if found is None or found["six"] == "" or int(found["port"]) > 65535:
            raise ValueError(
                f"--metrics {repr_of(text, 100)} is not an address: write host:port, for example "
                "127.0.0.1:9191, [::1]:9191, or :9191 for all addresses of this machine"
            )
        return cls(found["six"] or found["host"] or "", int(found["port"]))

    def listen(self) -> socket.socket:
        """Return a socket that listens here; raise OSError if this is impossible."""
        if not self.host and socket.has_dualstack_ipv6():
            place = "", self.port
            return socket.create_server(
                place, family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        found = socket.getaddrinfo(self.host or "0.0.0.0", self.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)


def name_of(listening: socket.socket) -> str:
    """Return the address of a listening socket, for a URL."""
    host, port = listening.getsockname()[:2]
    host = {"::": "0.0.0.0"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
