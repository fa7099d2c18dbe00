"""Settings of the tests of the optional parts and of the example: store and shop are installed."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.sessions",
    *INSTALLED_APPS,
    "django_gearman.contrib.store",
    "django_gearman.contrib.dashboard",
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

# The admin, for the pages of contrib.dashboard. The tests of the shop have settings of their own.
ROOT_URLCONF = "tests.contrib.urls"
STATIC_URL = "static/"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
