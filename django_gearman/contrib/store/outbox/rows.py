"""The rows of the outbox: jobs as they will be sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

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
    with naming_missing_tables(alias):
        if len(rows) > 1 and connections[alias].features.can_return_rows_from_bulk_insert:
            OutboxJob.objects.using(alias).bulk_create(rows)
        else:
            for row in rows:
                row.save(force_insert=True, using=alias)
    return [row.pk for row in rows]


def row_of(spec: JobSpec, job_id: str, servers: str = "") -> OutboxJob:
    """Return the row of a job, which is not saved yet."""
    return OutboxJob(
        job_id=job_id,
        function=spec.function,
        unique=fit_unique(spec.unique) if spec.unique else "",
        workload=spec.workload,
        priority=_NUMBERS[spec.priority],
        run_at=spec.run_at,
        external=spec.external,
        servers=servers,
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
    request = JobRequest(name, call, spec, serializer, DEFAULT)
    request.id = row.job_id
    return request


def dump_servers(servers: Sequence[Any] | None) -> str:
    """
    Return the servers of a client as text; "" for those of the settings.

    Raises ValueError for a password: a table is no place for it.
    """
    if servers is None:
        return ""
    return json.dumps([_dump_server(each) for each in parse_servers(servers)])


def _dump_server(server: ServerAddress) -> Any:
    if server.tls is None:
        return [server.host, server.port]
    if server.tls.get("password") is not None:
        raise ValueError(
            f"the outbox cannot keep the TLS password of job server {server} in the database; use a "
            "key without a password, or submit with using(on_commit=False)"
        )
    tls = {name: value if value is None else _plain(value) for name, value in server.tls.items()}
    return {"host": server.host, "port": server.port, "tls": tls}


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, str)) else str(value)


def load_servers(text: str) -> list[Any] | None:
    """Return the servers of a row; raise ValueError for one that was changed to nonsense."""
    if not text:
        return None
    servers: Any = json.loads(text)
    return [tuple(each) if isinstance(each, list) else each for each in servers]
