"""
The page of `gearman_worker --metrics`: a small HTTP server in the attendant.

It answers GET and HEAD, without keeping connections. Each connection has a thread and a limited time,
and their number is limited: clients that send nothing, or slowly, cannot hold it up.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ...utils.records import get_logger, log

logger = get_logger("django_gearman.metrics")

#: Seconds that a client has for its request and for taking the answer.
PATIENCE = 10.0
#: Seconds that requests have to end when the page stops.
LAST_SECONDS = 3.0
#: Connections at a time; the oldest is closed for one more.
MOST_CONNECTIONS = 50

_LOOK_SECONDS = 0.2  # between two looks at slow connections
_PLAIN = "text/plain; charset=utf-8"
_METHODS = ("GET", "HEAD")


class Answer:
    """An answer to a request."""

    def __init__(self, body: bytes | str, status: int = 200, kind: str = _PLAIN) -> None:
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.kind = kind


#: A path's function, which gets the `Accept` header of the request.
View = Callable[[str], Answer]


class Page(ThreadingHTTPServer):
    """A server of these paths on a socket that listens already."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, views: dict[str, View]) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.timeout = _LOOK_SECONDS
        self.views = views
        self._opened: dict[socket.socket, float] = {}
        self._changing = threading.Lock()

    def serve(self, is_over: Callable[[], bool]) -> None:
        """Answer requests until this returns True; finish those that have begun."""
        while not is_over():
            self.handle_request()
            self._hang_up()
        deadline = time.monotonic() + LAST_SECONDS
        while self._opened and time.monotonic() < deadline:
            time.sleep(0.01)

    def _hang_up(self) -> None:
        """Close connections that take too long, and the oldest ones if there are too many."""
        late = time.monotonic() - PATIENCE
        with self._changing:
            oldest_first = list(self._opened.items())
        surplus = len(oldest_first) - MOST_CONNECTIONS
        for place, (connection, began) in enumerate(oldest_first):
            if began < late or place < surplus:
                with suppress(OSError):  # it has ended
                    connection.shutdown(socket.SHUT_RDWR)  # its thread closes it

    # Called by the base class

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changing:
            self._opened[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changing:
            self._opened.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a view; a client that goes away is not an error."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ValueError):  # ValueError: of a closed file
            log(logger, logging.ERROR, "the page of metrics failed: %r", error, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: Page

    def version_string(self) -> str:
        return "django-gearman"

    def __getattr__(self, name: str) -> Any:
        """Return the function for an HTTP method, which the base class looks for by this name."""
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self._answer if name.removeprefix("do_") in _METHODS else self._refuse

    def _answer(self) -> None:
        view = self.server.views.get(self.path.partition("?")[0])
        if view is None:
            paths = ", ".join(self.server.views)
            self._send(Answer(f"not found; there are {paths}\n", HTTPStatus.NOT_FOUND))
            return
        try:
            answer = view(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - the client must learn that it failed
            log(logger, logging.ERROR, "%s failed: %r", self.path, error, exc_info=error)
            answer = Answer("failed; see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer)

    def _refuse(self) -> None:
        self._send(Answer("use GET\n", HTTPStatus.METHOD_NOT_ALLOWED))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(_METHODS))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *args: Any) -> None:
        """Write no line for each request."""
