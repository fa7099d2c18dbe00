"""Settings of the shop: SQLite, uploads beside it, and jobs that wait for the commit."""

import os
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", ".")).absolute()

SECRET_KEY = "only for the example"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "gearman_example.shop.urls"
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_gearman",
    "django_gearman.contrib.store",
    "django_gearman.contrib.dashboard",
    "gearman_example.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gearman_example.shop.middleware.content_security_policy",
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "shop.sqlite3",
        "ATOMIC_REQUESTS": True,
        # The site and the workers write to one file: let them wait for one another.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = DATA / "shop.media"
# Each page asks for news several times a second: show only requests that fail.
LOGGING = {"version": 1, "incremental": True, "loggers": {"django.server": {"level": "ERROR"}}}

GEARMAN_SERVERS = [os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730")]
GEARMAN_SUBMIT_ON_COMMIT = True  # a job finds the rows that its request has written
GEARMAN_STORE_ALL = True  # the database keeps a record of each job, with its result
