"""Settings of the tests of the optional parts and of the example: store and shop are installed."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [
    "django.contrib.auth",
    *INSTALLED_APPS,
    "django_gearman.contrib.store",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "gearman_example.shop",
    "tests.contrib",
]
_TASK_BACKEND = "django_gearman.contrib.tasks_backend.GearmanTaskBackend"
TASKS = {
    "default": {"BACKEND": _TASK_BACKEND, "QUEUES": ["default", "mail"]},
    "open": {"BACKEND": _TASK_BACKEND, "QUEUES": []},
    "durable": {"BACKEND": _TASK_BACKEND, "QUEUES": ["durable"], "OPTIONS": {"OUTBOX": True}},
    "patient": {
        "BACKEND": _TASK_BACKEND,
        "QUEUES": ["patient"],
        "OPTIONS": {"MAX_ATTEMPTS": 2, "TIMEOUT": 30},
    },
}
