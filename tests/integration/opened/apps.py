"""An app with bad habits at import: it opens connections and starts threads."""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import os
import queue
import socket
import sys
import threading
import time

from django.apps import AppConfig
from django.db import connection

from django_gearman.signals import job_failed, job_finished, worker_stopping
from tests.integration.marks import leave


def query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class QueryingHandler(logging.Handler):
    """As one that keeps records in the database."""

    def emit(self, record: logging.LogRecord) -> None:
        query()


class Reporter:
    """Sends events in a thread, and has the exit of a process wait for them, as error reporters do."""

    def __init__(self) -> None:
        self._events: queue.Queue[str] = queue.Queue()
        self._process = 0
        atexit.register(self.flush)

    def send(self, event: str) -> None:
        if self._process != os.getpid():  # a thread of the parent is not here
            self._process = os.getpid()
            threading.Thread(target=self._deliver, daemon=True).start()
        self._events.put(event)

    def _deliver(self) -> None:
        while True:
            event = self._events.get()
            threading.Event().wait(0.2)  # the network
            leave(event)
            self._events.task_done()

    def flush(self) -> None:
        self._events.join()


reporter = Reporter()
opened: list[object] = []


def listen() -> None:
    """Start a thread that writes logs."""
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    logging.getLogger("opened").addHandler(logging.handlers.QueueHandler(records))
    logging.handlers.QueueListener(records, logging.StreamHandler()).start()


def connect() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    opened.extend((server, socket.create_connection(server.getsockname())))
    print("connected to", "{}:{}".format(*server.getsockname()), file=sys.stderr, flush=True)


def hang(**kwargs: object) -> None:
    leave("hangs")
    time.sleep(600)


OPENERS = {
    "hang_finished": lambda: job_finished.connect(hang, weak=False),
    "hang_stopping": lambda: worker_stopping.connect(hang, weak=False),
    "hang_failed": lambda: job_failed.connect(hang, weak=False),
    "query": query,
    "handler": lambda: logging.getLogger("django_gearman").addHandler(QueryingHandler()),
    "listener": listen,
    "connection": connect,
}


class OpenedConfig(AppConfig):
    """The app's configuration, which follows the environment."""

    name = "tests.integration.opened"

    def ready(self) -> None:
        for name in os.environ.get("OPEN", "").split():
            OPENERS[name]()
