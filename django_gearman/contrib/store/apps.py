"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from ...client.delivery import use_outbox
from ...jobs.keeping import install_keeper
from ...worker.attendant import add_service
from ...worker.pausing import install as install_pauses


class StoreConfig(AppConfig):
    """The app `django_gearman.contrib.store`, with the label `gearman_store`."""

    name = "django_gearman.contrib.store"
    label = "gearman_store"
    verbose_name = "Gearman"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .control.pausing import read_pauses  # noqa: PLC0415
        from .control.service import make_service as make_control  # noqa: PLC0415
        from .control.steering import make_service as make_steering  # noqa: PLC0415
        from .keeper import Store  # noqa: PLC0415 - the models are loaded now
        from .outbox.service import make_service  # noqa: PLC0415
        from .outbox.submitting import submit  # noqa: PLC0415
        from .pruning import make_service as make_prune_service  # noqa: PLC0415
        from .scheduler.checks import check_schedules  # noqa: PLC0415
        from .scheduler.service import make_service as make_scheduler  # noqa: PLC0415

        install_keeper(Store())
        use_outbox(submit)
        add_service("outbox", make_service)
        add_service("prune", make_prune_service)
        add_service("scheduler", make_scheduler)
        add_service("control", make_control)
        add_service("steering", make_steering)
        install_pauses(read_pauses)
        checks.register(check_schedules, "gearman")
