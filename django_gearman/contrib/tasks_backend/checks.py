"""System checks of the backends in TASKS."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ...backends import get_backend_class
from ...exceptions import InvalidBackend
from ...worker.routing import declared_workers
from .policy import OPTIONS, policy_of_options
from .queues import check_queue_name
from .stored import STORE, is_stored

KNOWN = (*OPTIONS, "OUTBOX")


def check_backend(alias: str, params: Mapping[str, Any]) -> list[CheckMessage]:
    """Check the settings of one backend, without connecting to anything."""
    return [
        *_check_queues(alias, params.get("QUEUES", ["default"])),
        *_check_options(alias, params),
    ]


def _check_queues(alias: str, queues: Any) -> list[CheckMessage]:
    where = f"TASKS[{alias!r}]['QUEUES']"
    is_list = isinstance(queues, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(queue, str) for queue in queues):
        return [_error("E101", f"{where} is {queues!r}, which is not a list of names.")]
    found: list[CheckMessage] = []
    for queue in queues:
        try:
            check_queue_name(alias, queue)
        except ValueError as error:
            found.append(_error("E101", f"{where}: {error}."))
    if not (queues or _is_local() or _names_queues()):
        message = f"{where} is [], so tasks may have any queue, and a worker cannot know them."
        hint = "Start workers with -q NAME for each queue: others serve no task of this backend."
        found.append(checks.Warning(message, hint=hint, id="django_gearman.W101"))
    return found


def _is_local() -> bool:
    """Return True if no worker is needed."""
    try:
        return get_backend_class().local
    except InvalidBackend:
        return True  # E001 reports this


def _names_queues() -> bool:
    """Return True if a worker in GEARMAN_WORKERS names its queues."""
    try:
        workers = declared_workers()
    except ImproperlyConfigured:
        return True  # E005 reports this
    return any(worker.queues is not None for worker in workers or ())


def _check_options(alias: str, params: Mapping[str, Any]) -> list[CheckMessage]:
    where = f"TASKS[{alias!r}]['OPTIONS']"
    options = params.get("OPTIONS", {})
    if not isinstance(options, Mapping):
        return [_error("E102", f"{where} is {options!r}, which is not a dict.")]
    found: list[CheckMessage] = []
    for name in options:
        if name not in KNOWN:
            close = difflib.get_close_matches(str(name), KNOWN, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(KNOWN)}."
            message = f"{where} has {name!r}, which has no effect."
            found.append(checks.Warning(message, hint=hint, id="django_gearman.W102"))
    try:
        policy_of_options(options)
    except (TypeError, ValueError, ImportError) as error:
        found.append(_error("E102", f"{where}: {error}."))
    return [*found, *_check_outbox(where, options.get("OUTBOX", False))]


def _check_outbox(where: str, outbox: Any) -> list[CheckMessage]:
    if outbox is False:
        return []
    where = f"{where}['OUTBOX']"
    if not isinstance(outbox, (bool, str)):
        return [_error("E103", f"{where} is True, False or a database's alias, not {outbox!r}.")]
    if isinstance(outbox, str) and outbox not in connections:
        return [
            _error("E103", f"{where} is {outbox!r}, but DATABASES has {', '.join(connections)}.")
        ]
    if not is_stored():
        return [_error("E103", f"{where} needs a table: add {STORE!r} to INSTALLED_APPS.")]
    return []


def _error(number: str, message: str) -> CheckMessage:
    return checks.Error(message, id=f"django_gearman.{number}")
