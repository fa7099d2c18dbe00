"""
A backend for `django.tasks`, or its backport on Django 5.2.

TASKS = {
    "default": {"BACKEND": "django_gearman.contrib.tasks_backend.GearmanTaskBackend"},
}
"""

from .backend import GearmanTaskBackend
from .declaring import GearmanTask, task
from .source import gearman_backends
from .twins import GearmanDummyBackend, GearmanImmediateBackend

__all__ = [
    "GearmanDummyBackend",
    "GearmanImmediateBackend",
    "GearmanTask",
    "GearmanTaskBackend",
    "gearman_backends",
    "task",
]
