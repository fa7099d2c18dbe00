"""The Django app: it finds the jobs of every installed app, and checks the settings."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.utils.module_loading import autodiscover_modules

from .checks import check_placement, check_routes, check_settings
from .logs import write_json
from .supervisor import protect_streams
from .testing.isolation import isolate_test_runs
from .utils.console import wants_json


class DjangoGearmanConfig(AppConfig):
    """
    The app configuration. It imports `gearman_jobs` of each installed app; an error inside one is
    raised.
    """

    name = "django_gearman"
    verbose_name = "Gearman"

    def __init__(self, app_name: str, app_module: ModuleType) -> None:
        super().__init__(app_name, app_module)
        # Now, because the modules of other apps may print, or keep a reference to the streams.
        if "gearman_worker" in sys.argv:
            protect_streams()
        if wants_json(sys.argv):
            write_json()

    def ready(self) -> None:
        isolate_test_runs()
        checks.register(check_settings, "gearman")
        checks.register(check_placement, "gearman")
        checks.register(check_routes, "gearman", deploy=True)
        autodiscover_modules("gearman_jobs")
        _load_task_backends()


def _load_task_backends() -> None:
    """Import the backends of Django's TASKS: ours adds its jobs to the registry."""
    tasks = getattr(settings, "TASKS", None)
    for params in tasks.values() if isinstance(tasks, dict) else ():
        path = params.get("BACKEND") if isinstance(params, dict) else None
        if isinstance(path, str) and not path.startswith("django.tasks."):
            with suppress(ImportError):  # Django reports it
                import_module(path.rpartition(".")[0])
