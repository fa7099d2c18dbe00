"""A TCP proxy whose path can die: it then forwards nothing, and closes nothing."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """
    A proxy from `address` to a local port, until `cut()`.

    Connections that exist at that time are dead for good, without a message to either side, as when
    a firewall drops them. Connections made before `mend()` are accepted, and dead too.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._kept: list[socket.socket] = []
        self._peers: dict[socket.socket, socket.socket] = {}
        self._is_cut = self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for end in self._peers:
                self._selector.unregister(end)
            self._peers.clear()

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self._is_closed = True
        self._thread.join()
        for end in (self._listener, *self._kept):
            end.close()

    def _forward(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass_on(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        self._kept.append(near)
        if self._is_cut:
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            near.close()
            return
        self._kept.append(far)
        for end, other in ((near, far), (far, near)):
            self._peers[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        other = self._peers.get(end)
        if other is None:  # it was cut while this was waiting
            return
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65536)
            other.sendall(data)
        if not data:
            for each in (end, other):
                self._selector.unregister(each)
                del self._peers[each]
                each.close()
