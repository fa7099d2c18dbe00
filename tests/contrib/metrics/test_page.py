"""The HTTP server of the page, with clients that behave and clients that do not."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from django_gearman.contrib.metrics import page
from django_gearman.contrib.metrics.address import ListenAddress
from django_gearman.contrib.metrics.page import Answer, Page
from tests.support.gearmand import wait_until


def hello(accept: str) -> Answer:
    return Answer(f"hello {accept}\n")


def breaks(accept: str) -> Answer:
    raise RuntimeError("broken")


def large(accept: str) -> Answer:
    return Answer(b"x" * 20_000_000)


VIEWS = {"/hello": hello, "/broken": breaks, "/large": large}


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
    """A page of these views, and its port."""
    monkeypatch.setattr(page, "_LOOK_SECONDS", 0.01)
    listening = ListenAddress.parse("127.0.0.1:0").listen()
    over = threading.Event()
    served = Page(listening, VIEWS)
    thread = threading.Thread(target=served.serve, args=[over.is_set])
    thread.start()
    yield listening.getsockname()[1]
    over.set()
    thread.join(30)
    served.server_close()


def ask(port: int, request: bytes) -> bytes:
    """Return the whole answer to the bytes of a request."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(port: int, path: str, method: str = "GET") -> bytes:
    return ask(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: text\r\n\r\n".encode())


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("path", ["/hello", "/hello?name[]=x"])
def test_a_path_is_answered_by_its_view(port, path):
    answer = get(port, path)

    assert status(answer) == 200
    assert body(answer) == b"hello text\n"
    assert b"Content-Length: 11\r\n" in answer
    assert b"Python" not in answer, "its version is nobody's business"


def test_head_has_the_headers_only(port):
    answer = get(port, "/hello", "HEAD")

    assert status(answer) == 200
    assert b"Content-Length: 11\r\n" in answer
    assert body(answer) == b""


@pytest.mark.parametrize("path", ["/", "/hello/", "/metrics2", "/../etc/passwd", "*"])
def test_other_paths_are_not_found(port, path):
    answer = get(port, path)

    assert status(answer) == 404
    assert b"there are /hello, /broken, /large" in body(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(port, method):
    answer = get(port, "/hello", method)

    assert status(answer) == 405
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET\r\n\r\n", b"Bad request syntax"),
        (b"GET /hello HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"Bad request syntax"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /hello HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_anything_but_http_is_refused(port, request_line, expected):
    try:
        answer = ask(port, request_line)
    except ConnectionError:  # it closes while the rest is sent
        answer = expected

    assert expected in answer
    assert status(get(port, "/hello")) == 200


def test_an_error_of_a_view_is_answered_and_logged(port, caplog):
    with caplog.at_level(logging.ERROR, "django_gearman"):
        answer = get(port, "/broken")

    assert status(answer) == 500
    assert body(answer) == b"failed; see the log\n", "nothing of the error itself"
    assert "/broken failed: RuntimeError('broken')" in caplog.text
    assert status(get(port, "/hello")) == 200


def test_silent_and_slow_clients_do_not_hold_up_others(port):
    clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(30)]
    for client in clients[:15]:
        client.sendall(b"GET /hel")
    clients[15].sendall(b"GET /large HTTP/1.1\r\n\r\n")  # and does not read

    assert status(get(port, "/hello")) == 200

    for client in clients:
        client.close()


def test_slow_clients_are_hung_up_although_they_send_a_byte_now_and_then(port, monkeypatch):
    monkeypatch.setattr(page, "PATIENCE", 0.5)
    with socket.create_connection(("127.0.0.1", port), 30) as client:

        def is_hung_up() -> bool:
            try:
                client.sendall(b"x")
                client.setblocking(False)
                return client.recv(100) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        wait_until(is_hung_up, "the end of the connection")


def test_the_oldest_connections_give_way_if_there_are_too_many(port, monkeypatch):
    monkeypatch.setattr(page, "MOST_CONNECTIONS", 3)
    clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(8)]

    assert wait_until(lambda: clients[0].recv(1) == b"", "the first is hung up")
    assert status(get(port, "/hello")) == 200

    for client in clients:
        client.close()
