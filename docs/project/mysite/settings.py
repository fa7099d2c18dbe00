"""Settings of the project of the documentation."""

from pathlib import Path

SECRET_KEY = "only for the documentation"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parent.parent / "db.sqlite3",
    }
}
INSTALLED_APPS = ["django_gearman", "shop"]
GEARMAN_SERVERS = ["127.0.0.1:4730"]
