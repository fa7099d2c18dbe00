"""The builder of requests from calls; nothing is sent here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from django.apps import apps

from .. import conf, environment
from ..backends import get_backend_class
from ..backends.base import JobSpec, Priority, SpecBatch
from ..exceptions import GearmanError, JobNotRegistered, SerializationError
from ..jobs.context import current_job, running
from ..jobs.definition import JobDefinition
from ..jobs.identity import carried, id_of, new_ids
from ..jobs.options import DEFAULT, Options
from ..jobs.registry import registry
from ..protocol.names import check_name
from ..serializers import Call, Serializer, check_bytes, get_serializer
from ..utils.text import quoted
from .placement import check_loaded, check_set_up
from .request import JobRequest

_Entry = TypeVar("_Entry")
_NORMAL = Priority.NORMAL
_NONE: Mapping[str, Any] = MappingProxyType({})


class Target(NamedTuple):
    """The common properties of the calls of one task."""

    task: str | JobDefinition
    job: JobDefinition | None
    name: str
    function: str
    serializer: Serializer
    options: Options
    dumps: Callable[[Call], bytes]


class Preparation:
    """
    A builder of requests for calls that are submitted together; it reads the settings once.

    `explicit` has the options of the call itself.
    """

    def __init__(
        self,
        options: Options,
        background: bool,
        waits: bool = True,
        explicit: Mapping[str, Any] = _NONE,
    ) -> None:
        if not apps.models_ready or "django_gearman" not in apps.app_configs:
            check_set_up()
        self._options = options
        self._background = background
        self._waits = waits
        self._explicit = explicit
        self.settings = conf.JobSettings()
        is_plain = self.settings.context_provider is None and running.get() is None
        self._context: dict[str, Any] = {} if is_plain else _context()
        self._ids = new_ids()  # to draw one for each takes longer
        self._targets: dict[str | int, Target] = {}

    def request(
        self,
        task: str | JobDefinition,
        call: Call,
        unique: str | bool | None = None,
        priority: str | None = None,
    ) -> JobRequest:
        """Check a call, and return the request for `deliver`."""
        key = task if type(task) is str else id(task)
        target = self._targets.get(key) or self._make_target(task, key)
        options = target.options
        if unique is not None or priority is not None:
            options = options.updated(unique=unique, priority=priority)
        spec, call, job_id = self._write(target, options, call)
        return JobRequest(target.name, call, spec, target.serializer, options, job_id, target.job)

    def make_request(
        self, task: str | JobDefinition, spec: JobSpec, call: Call, job_id: str
    ) -> JobRequest:
        """Return the request for an element of `specs`."""
        target = self.target(task)
        return JobRequest(
            target.name, call, spec, target.serializer, target.options, job_id, target.job
        )

    def specs(
        self, task: str | JobDefinition, calls: Iterable[Call], source: str
    ) -> list[tuple[JobSpec, Call, str]]:
        """Check calls of one task; return the spec, the call and the id of each."""
        target = self.target(task)
        found: list[tuple[JobSpec, Call, str]] = []
        for place, call in enumerate(calls):
            try:
                found.append(self._write(target, target.options, call))
            except (GearmanError, TypeError, ValueError) as error:
                _name_entry(error, f"{source}[{place}]")
                raise
        self._check_unique(target, len(found))
        return found

    def requests(
        self, entries: Iterable[_Entry], read: Callable[[_Entry], tuple[Any, ...]], source: str
    ) -> list[JobRequest]:
        """Build a request for each entry, which `read` parses; an error names the entry."""
        found: list[JobRequest] = []
        for place, entry in enumerate(entries):
            try:
                found.append(self.request(*read(entry)))
            except (GearmanError, TypeError, ValueError) as error:
                _name_entry(error, f"{source}[{place}]")
                raise
        if len(found) > 1:
            self._check_uniques(found)
        return found

    def _check_uniques(self, requests: list[JobRequest]) -> None:
        """Raise ValueError if one unique of `using()` would merge all of several jobs."""
        for target in self._targets.values():
            self._check_unique(target, sum(r.options is target.options for r in requests))

    def _check_unique(self, target: Target, count: int) -> None:
        unique = target.options.unique
        if count > 1 and isinstance(unique, str) and unique != "":
            raise ValueError(
                f"unique={quoted(unique)} would make one job of all {count}: use "
                "unique=True, which tells jobs apart by their arguments"
            )

    def target(self, task: str | JobDefinition) -> Target:
        """Return the common properties of the calls of a task."""
        key = task if type(task) is str else id(task)
        return self._targets.get(key) or self._make_target(task, key)

    def _make_target(self, task: str | JobDefinition, key: str | int) -> Target:
        job = resolve(task)
        if job is not None and job.is_late:
            check_loaded(job)
        name = job.name if job is not None else str(task)
        options, settings = self._options, self.settings
        if not isinstance(task, str) and task.options is not options:
            options = task.options.over(options)
        if options is not DEFAULT:
            self._check(options, job)
        if self._background and options.on_commit is None:
            if settings.on_commit is not False:
                options = _on_commit(options, conf.submit_on_commit())
            if settings.outbox is not False and options.on_commit is None:
                options = _on_commit(options, conf.outbox())
        if options.on_commit_failure and not options.on_commit:
            raise ValueError("on_commit_failure has no effect without on_commit=True")
        if self._explicit:
            options = options.updated(**self._explicit)
        if job is not None and options.serializer is not None:
            raise ValueError(
                f"job {name} is declared here, so @gearman_job(serializer=...) sets its serializer; "
                "using(serializer=...) is for jobs of other programs"
            )
        function = name if settings.job_name is None else conf.function_name(name)
        if job is not None:
            serializer = job.serializer_for(function, settings.serializer)
        else:
            chosen = options.serializer or settings.serializer
            serializer = get_serializer(chosen, f"serializer of job {name}").for_function(function)
        dumps = serializer.dumps_external if job is None else serializer.dumps_call
        target = Target(task, job, name, function, serializer, options, dumps)
        self._targets[key] = target
        return target

    def _check(self, options: Options, job: JobDefinition | None) -> None:
        if self._background:
            options.check_background(is_stored=job is not None and job.store_result)
        else:
            options.check_foreground(self._waits)

    def batch(self, task: JobDefinition, items: Sequence[Any]) -> SpecBatch | None:
        """
        Check calls of one task, each with one item, as `specs` does, but all at once.

        Returns None if each call needs a check of its own, or if `specs` may tell which item is wrong.
        """
        target = self.target(task)
        if target.job is None or not target.job.takes_one or self._context:
            return None
        if target.options is not DEFAULT and target.options.changes_jobs:
            return None
        try:
            workloads = target.serializer.dumps_items(items)
        except SerializationError:
            return None
        if not all(workloads) or {*map(type, workloads)} != {bytes}:
            return None
        first = next(self._ids)
        return SpecBatch(target.function, first, workloads, background=self._background)

    def _write(self, target: Target, options: Options, call: Call) -> tuple[JobSpec, Call, str]:
        """Check a call; return its spec, the call as it is sent, and the job's id."""
        job = target.job
        if job is not None:
            call = job.check_call(call)
        job_id = unique = f"{next(self._ids):032x}"
        context, priority, run_at = self._context, _NORMAL, None
        try:
            if options is not DEFAULT:
                job_id, unique, context = self._identify(target, options, call, job_id)
                priority, run_at = options.queue_priority, options.run_at()
            if context:
                call = call._replace(context=context)
            workload = target.dumps(call)
            if type(workload) is not bytes:
                workload = check_bytes(workload, target.serializer)
        except SerializationError as error:
            raise SerializationError(f"job {target.name}: {error}") from error
        if not workload and self._background:
            raise SerializationError(
                f"job {target.name}: the workload is empty, and a job server that keeps its queue on "
                "disk does not start again with such a job; send at least one byte"
            )
        external = job is None
        spec = JobSpec(
            target.function, workload, unique, priority, self._background, run_at, external
        )
        return spec, call, job_id

    def _identify(
        self, target: Target, options: Options, call: Call, job_id: str
    ) -> tuple[str, str, dict[str, Any]]:
        """Return the id, the unique and the context of a job with options; `job_id` is a new id."""
        job, serializer, context = target.job, target.serializer, self._context
        unique = options.unique or job_id
        if unique is True:
            unique = _unique_of(job, serializer, call)
        if unique is not job_id or options.priority is not None:
            if job is not None and serializer.carries_calls:
                context = context | carried(job_id, unique, options.priority or "NORMAL")
            elif unique is not job_id:
                job_id = id_of(target.function, unique)
        return job_id, unique, context


def _on_commit(options: Options, on_commit: bool | str) -> Options:
    """Return options with the `on_commit` of the settings."""
    return (
        _default(on_commit) if options is DEFAULT else options.updated(on_commit=on_commit or None)
    )


@lru_cache(8)
def _default(on_commit: bool | str) -> Options:
    return DEFAULT.updated(on_commit=on_commit or None)


def _name_entry(error: Exception, entry: str) -> None:
    """Add the entry with the error to the message, if its type allows it."""
    if isinstance(error, GearmanError) or type(error) in (TypeError, ValueError):
        error.args = (f"{entry}: {error}",)


def _unique_of(job: JobDefinition | None, serializer: Serializer, call: Call) -> str:
    """Return the unique of all calls with these arguments."""
    if job is not None and serializer.carries_calls:
        call = job.canonical_call(call, serializer)
    key = check_bytes(serializer.unique_key(call), serializer)
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def _context() -> dict[str, Any]:
    """Return the context of a job: that of the running job, and the entries of the project."""
    outer = current_job()
    own = conf.submission_context()
    return {**outer.context, **own} if outer is not None and outer.context else own


def _check_external(name: str) -> None:
    """Raise JobNotRegistered unless another program may serve a job of this name."""
    if not conf.is_external(name):
        raise registry.unknown(name)
    if get_backend_class().local:
        raise JobNotRegistered(
            f"job {name!r} is served by another program, as GEARMAN_EXTERNAL_JOBS says, and jobs do "
            "not leave this process; in a test, gearman_client.stub() answers for it"
        )


def resolve(task: str | JobDefinition) -> JobDefinition | None:
    """Return the job of a name, or None for one that another program serves."""
    if isinstance(task, str):
        job = registry.find(task)
        if job is None:
            check_name(task, "job name")
            if not environment.current().answers(task):
                _check_external(task)
        return job
    job = registry.find(task.name) if isinstance(task, JobDefinition) else None
    if job is None or job.func is not task.func:
        raise TypeError(
            f"a task is a job's name, or a function declared with @gearman_job, not {quoted(task)}"
            + (f"; {job.name} has been declared again since, {job.location}" if job else "")
        )
    return job
