"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class StoreConfig(AppConfig):
    """The app `django_gearman.contrib.store`, with the label `gearman_store`."""

    name = "django_gearman.contrib.store"
    label = "gearman_store"
    verbose_name = "Gearman"
    default_auto_field = "django.db.models.BigAutoField"
