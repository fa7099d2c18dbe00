"""The rows of the outbox: jobs as they will be sent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .... import conf
from ....backends import parse_servers
from ....client.request import JobRequest
from ....jobs.definition import JobDefinition
from ....jobs.options import DEFAULT
from ....protocol.address import ServerAddress
from ....protocol.messages import JobSpec, Priority
from ....protocol.names import fit_unique
from ....serializers import Call, get_serializer
from ..missing import naming_missing_tables
from ..models import OutboxJob

#: Most rows of one statement.
BATCH = 500
#: Attempts after which a row that job servers refuse is stuck.
MOST_ATTEMPTS = 10

#: The columns of a row that is sent.
COLUMNS = (
    "id",
    "job_id",
    "function",
    "unique",
    "workload",
    "priority",
    "run_at",
    "external",
    "servers",
    "attempts",
)

#: The columns of an INSERT; the database sets the others.
_WRITTEN = (*COLUMNS[1:], "last_error")

#: The values of a row for these columns. A model takes longer to make, in the user's transaction.
Row: TypeAlias = tuple[Any, ...]

_NUMBERS = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}
_PRIORITIES = {number: priority for priority, number in _NUMBERS.items()}


def write_rows(
    requests: Sequence[JobRequest], servers: Sequence[Any] | None, alias: str
) -> list[int]:
    """
    Insert a row for each request, in the current transaction of this database; return their keys.

    Raises TableMissing if the database has no such table.
    """
    named = dump_servers(servers)
    rows = [row_of(request.spec, request.id, named) for request in requests]
    connection = connections[alias]
    # MySQL returns the key of one row only.
    size = BATCH if connection.features.can_return_rows_from_bulk_insert else 1
    with naming_missing_tables(alias):
        return [key for part in _parts(rows, size) for key in _insert(part, connection)]


def write_due_rows(rows: Sequence[Row], alias: str) -> None:
    """Insert rows that a relay may send at once, in the current transaction of this database."""
    connection = connections[alias]
    # Long ago by every clock.
    due = timezone.now().replace(year=2000, month=1, day=1)
    value = OutboxJob._meta.get_field("next_try_at").get_db_prep_save(due, connection)
    for part in _parts([(*row, value) for row in rows], BATCH):
        _insert(part, connection, (*_WRITTEN, "next_try_at"))


def _parts(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _insert(
    rows: Sequence[Row], connection: BaseDatabaseWrapper, columns: tuple[str, ...] = _WRITTEN
) -> list[int]:
    """
    Insert rows, which have values for these columns; return their keys.

    `save` and `bulk_create` take four times as long, and often in the user's transaction.
    """
    returns_keys = connection.features.can_return_rows_from_bulk_insert
    sql = _insertion(connection.vendor, returns_keys, columns, len(rows))
    with connection.cursor() as cursor:
        cursor.execute(sql, [*chain.from_iterable(rows)])
        if returns_keys:
            return [key for (key,) in cursor.fetchall()]
        return [cursor.lastrowid]


@lru_cache(8)
def _insertion(vendor: str, returns_keys: bool, columns: tuple[str, ...], count: int) -> str:
    """Return the statement that inserts a number of rows."""
    quote, binary = ("`", "_binary %s") if vendor == "mysql" else ('"', "%s")
    names = ", ".join(f"{quote}{column}{quote}" for column in columns)
    marks = ", ".join(binary if column == "workload" else "%s" for column in columns)
    return (
        f"INSERT INTO {OutboxJob._meta.db_table} ({names}) "
        f"VALUES {', '.join([f'({marks})'] * count)}{' RETURNING id' if returns_keys else ''}"
    )


def row_of(spec: JobSpec, job_id: str, servers: str = "") -> Row:
    """Return the row of a new job: its values for the columns of an INSERT."""
    return (
        job_id,
        spec.function,
        fit_unique(spec.unique) if spec.unique else "",
        spec.workload,
        _NUMBERS[spec.priority],
        spec.run_at,
        spec.external,
        servers,
        0,
        "",
    )


def spec_of(row: OutboxJob) -> JobSpec:
    """Return the job of a row; raise ValueError for one that was changed to nonsense."""
    if row.priority not in _PRIORITIES:
        raise ValueError(f"priority is {row.priority}; it must be -1, 0 or 1")
    return JobSpec(
        row.function,
        bytes(row.workload),
        row.unique,
        _PRIORITIES[row.priority],
        background=True,
        run_at=row.run_at,
        external=row.external,
    )


def request_of(row: OutboxJob, spec: JobSpec, jobs: Mapping[str, JobDefinition]) -> JobRequest:
    """Return a request for a row, as its submitter had it; `jobs` are the declared ones by function."""
    job = jobs.get(spec.function)
    default = conf.serializer()
    serializer = get_serializer(default) if job is None else job.serializer_over(default)
    serializer = serializer.for_function(spec.function)
    try:
        call = serializer.loads_call(spec.workload)
    except Exception:  # noqa: BLE001 - it may run code of the project; the job runs all the same
        call = Call()
    name = spec.function if job is None else job.name
    return JobRequest(name, call, spec, serializer, DEFAULT, row.job_id, job)


def dump_servers(servers: Sequence[Any] | None) -> str:
    """
    Return the servers of a client as text; "" for those of the settings.

    Raises ValueError for a password, because a table must not contain it, and for certificates in bytes.
    """
    if servers is None:
        return ""
    return json.dumps([_dump_server(each) for each in parse_servers(servers)])


def _dump_server(server: ServerAddress) -> Any:
    if server.tls is None:
        return [server.host, server.port]
    tls = {name: _plain(name, value, server) for name, value in server.tls.items()}
    return {"host": server.host, "port": server.port, "tls": tls}


def _plain(name: str, value: Any, server: ServerAddress) -> Any:
    """Return a TLS argument as JSON can have it."""
    if value is not None and name == "password":
        raise ValueError(
            f"the outbox cannot keep the TLS password of job server {server} in the database; use a "
            "key without a password, or submit with using(on_commit=False)"
        )
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (bool, str)):
        return value
    raise ValueError(
        f"the outbox cannot keep {name!r} of job server {server} in the database, because it is "
        f"{type(value).__name__}; use a file, or submit with using(on_commit=False)"
    )


def load_servers(text: str) -> list[Any] | None:
    """Return the servers of a row; raise ValueError for one that was changed to nonsense."""
    if not text:
        return None
    servers: Any = json.loads(text)
    return [tuple(each) if isinstance(each, list) else each for each in servers]
