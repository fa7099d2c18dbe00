"""System checks: `manage.py check` finds faults that would appear later."""

from __future__ import annotations

import difflib
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router

from . import backends, conf
from .client.placement import misplaced_jobs
from .exceptions import GearmanError, InvalidBackend
from .jobs import keeping
from .jobs.functions import check_serializers, job_functions
from .jobs.registry import registry
from .serializers import old_pickles
from .worker.databases import pool_warnings
from .worker.routing import declared_workers, routing_errors

#: The app that has the tables of the optional parts.
STORE = "django_gearman.contrib.store"


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check every GEARMAN_* setting, without connecting to anything."""
    return [
        *_unknown_settings(),
        *_errors("E001", InvalidBackend, backends.check_backend),
        *_errors("E002", ImproperlyConfigured, lambda: check_serializers(registry.jobs())),
        *_errors("E003", (ImproperlyConfigured, GearmanError), _check_names),
        *_errors("E004", ImproperlyConfigured, lambda: conf.is_external("")),
        *_errors("E005", ImproperlyConfigured, declared_workers),
        *_errors("E007", ImproperlyConfigured, conf.job_timeout),
        *_errors("E008", ImproperlyConfigured, _check_on_commit),
        *_errors("E009", ImproperlyConfigured, conf.context_provider),
        *_errors("E012", ImproperlyConfigured, conf.send_tracebacks),
        *_errors("E013", ImproperlyConfigured, old_pickles),
        *_errors("E014", ImproperlyConfigured, conf.on_commit_failure),
        *_errors("E015", ImproperlyConfigured, conf.middleware),
        *_errors("E016", ImproperlyConfigured, _check_outbox),
        *_errors("E017", ImproperlyConfigured, _check_scheduler),
        *_errors("E018", ImproperlyConfigured, _check_store_settings),
        *_check_store(),
        *_check_old_pickles(),
        *_check_retries(),
        *_check_pools(),
    ]


def check_routes(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the workers in GEARMAN_WORKERS serve every job's queue."""
    try:
        errors = routing_errors()
    except ImproperlyConfigured:
        return []  # E005 reports this
    return [checks.Error(error, id="django_gearman.E006") for error in errors]


def check_placement(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that workers load every job that the project declares."""
    try:
        misplaced = misplaced_jobs()
    except ImproperlyConfigured:
        return []  # E004 reports this
    return [
        checks.Error(
            f"no worker loads the job {place}.", hint=f"{remedy}.", id="django_gearman.E011"
        )
        for place, remedy in misplaced
    ]


def _errors(number: str, kinds: Any, attempt: Any) -> list[CheckMessage]:
    try:
        attempt()
    except kinds as error:
        return [checks.Error(str(error), id=f"django_gearman.{number}")]
    return []


def _check_names() -> None:
    conf.function_name("app.job")
    job_functions()


def _check_on_commit() -> None:
    alias = conf.submit_on_commit()
    if isinstance(alias, str) and alias not in connections:
        raise ImproperlyConfigured(
            f"GEARMAN_SUBMIT_ON_COMMIT is {alias!r}, but DATABASES has {', '.join(connections)}"
        )


def _check_outbox() -> None:
    setting = conf.outbox()
    if isinstance(setting, str) and setting not in connections:
        raise ImproperlyConfigured(
            f"GEARMAN_OUTBOX is {setting!r}, but DATABASES has {', '.join(connections)}"
        )
    if setting and not apps.is_installed(STORE):
        raise ImproperlyConfigured(
            f"GEARMAN_OUTBOX needs a table: add {STORE!r} to INSTALLED_APPS, and run manage.py migrate"
        )
    alias = setting if isinstance(setting, str) else DEFAULT_DB_ALIAS
    if setting and not router.allow_migrate_model(alias, apps.get_model("gearman_store.OutboxJob")):
        raise ImproperlyConfigured(
            f"GEARMAN_OUTBOX is {setting!r}, but DATABASE_ROUTERS keep the table out of database "
            f"{alias!r}: let allow_migrate return None or True for the app gearman_store"
        )


def _check_store_settings() -> None:
    conf.store_all()
    conf.result_ttl()
    conf.failure_ttl()


def _check_store() -> list[CheckMessage]:
    """Check that the store is installed if the project asks for it."""
    if keeping.keeper is not None:
        return []
    asking = [
        f"job {job.name} declares store_result=True" for job in registry.jobs() if job.store_result
    ]
    if getattr(settings, "GEARMAN_STORE_ALL", False) is True:
        asking.append("GEARMAN_STORE_ALL is True")
    return [
        checks.Error(
            f"{reason}, but no app stores results.",
            hint=f"{keeping.NOT_INSTALLED[0].upper()}{keeping.NOT_INSTALLED[1:]}.",
            id="django_gearman.E019",
        )
        for reason in asking
    ]


def _check_scheduler() -> None:
    names = [job.name for job in registry.jobs() if job.cron is not None]
    if apps.is_installed(STORE) or not (names or conf.schedule()):
        return
    what = f"cron of job {names[0]}" if names else "GEARMAN_SCHEDULE"
    raise ImproperlyConfigured(
        f"{what} needs the scheduler and its tables: add {STORE!r} to INSTALLED_APPS, and run "
        "manage.py migrate"
    )


def _check_old_pickles() -> list[CheckMessage]:
    """Warn about a setting that is only for the time of an upgrade."""
    if getattr(settings, "GEARMAN_OLD_PICKLES", None) not in ("read", "write"):
        return []
    message = "GEARMAN_OLD_PICKLES accepts pickles that are signed for any job, as 1.0 did."
    hint = (
        "Anyone who can read your job server can send a job's call to another job. Remove "
        "the setting when every process has been upgraded and the queues are empty."
    )
    return [checks.Warning(message, hint=hint, id="django_gearman.W003")]


def _check_pools() -> list[CheckMessage]:
    """Compare the threads of GEARMAN_WORKERS with the pools of the databases."""
    try:
        threads = max((worker.threads for worker in declared_workers() or ()), default=1)
    except ImproperlyConfigured:
        return []  # E005 reports this
    found = pool_warnings(threads) if threads > 1 else ()
    return [checks.Warning(message, id="django_gearman.W004") for message in found]


def _check_retries() -> list[CheckMessage]:
    """Check that each backoff returns a delay, and that the backend supports the delays."""
    found: list[CheckMessage] = []
    delayed = []
    for job in registry.jobs():
        if not job.retries:
            continue
        try:
            if job.retry_policy.delay_after(1):
                delayed.append(job.name)
        except Exception as error:  # noqa: BLE001 - it is the project's code
            message = f"the backoff of job {job.name}, after attempt 1: {error!r}"
            found.append(checks.Error(message, id="django_gearman.E010"))
    if delayed and not _has_delays():
        message = f"{', '.join(delayed)}: the transport has no delayed jobs, so no retry can wait."
        hint = (
            "The first failure of these jobs is final. Use GEARMAN_BACKEND = 'gearman', or "
            "backoff=0."
        )
        found.append(checks.Warning(message, hint=hint, id="django_gearman.W002"))
    return found


def _has_delays() -> bool:
    try:
        return backends.get_backend_class().supports_delayed
    except InvalidBackend:
        return True  # E001 reports this


def _unknown_settings() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    prefix = "GEARMAN_"
    endings = [name.removeprefix(prefix) for name in conf.DEFAULTS]
    for name in dir(settings):
        if name.startswith(prefix) and name not in conf.DEFAULTS:
            close = difflib.get_close_matches(name.removeprefix(prefix), endings, n=1)
            hint = f"Known are {', '.join(conf.DEFAULTS)}."
            if close:
                hint = f"Did you mean {prefix}{close[0]}?"
            message = f"{name} is not a setting of django-gearman, so it has no effect."
            found.append(checks.Warning(message, hint=hint, id="django_gearman.W001"))
    return found
