"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured

from ...worker.attendant import add_service


class DashboardConfig(AppConfig):
    """The app `django_gearman.contrib.dashboard`, with the label `gearman_dashboard`."""

    name = "django_gearman.contrib.dashboard"
    label = "gearman_dashboard"
    verbose_name = "Gearman"
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Import the models; raise ImproperlyConfigured if an app that the pages need is missing."""
        for needed in ("django.contrib.admin", "django_gearman.contrib.store"):
            if not apps.is_installed(needed):
                raise ImproperlyConfigured(
                    f"{self.name} needs {needed!r}: add it to INSTALLED_APPS, and run migrate"
                )
        super().import_models()

    def ready(self) -> None:
        from .sampling import make_service  # noqa: PLC0415 - the models are loaded now

        add_service("samples", make_service)
