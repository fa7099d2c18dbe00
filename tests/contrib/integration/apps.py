"""The app of the jobs of the integration tests."""

from django.apps import AppConfig


class IntegrationConfig(AppConfig):
    """An app with a label of its own: tests.integration has the usual one."""

    name = "tests.contrib.integration"
    label = "contrib_integration"
