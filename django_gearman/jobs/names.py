"""The names of jobs and queues."""

from __future__ import annotations

import re

from ..protocol.names import check_name


def default_name(module: str, function: str) -> str:
    """Return the import path without "gearman_jobs": gearman_example.reverse."""
    return ".".join([*(part for part in module.split(".") if part != "gearman_jobs"), function])


def check_queue(value: object) -> str:
    """
    Return the name of a queue; raise TypeError or ValueError for names with a meaning in `-q`.
    """
    name = check_name(value, "queue name")
    if name == "*" or re.search(r":\d*$", name):
        raise ValueError(
            f"{name!r} is not a queue name: 'gearman_worker -q' reads '*' as all queues, and "
            "'mail:2' as two processes for queue mail"
        )
    return name
