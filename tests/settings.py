"""Settings of the tests: each test that cares chooses its transport."""

SECRET_KEY = "only for the tests"
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_gearman",
    "gearman_example",
    "tests.app",
    "tests.integration",
    "tests.integration.opened",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
GEARMAN_BACKEND = "eager"
GEARMAN_EXTERNAL_JOBS = ["php.*", "gearman_example.shop.*"]
