"""
Errors and traces of jobs in Sentry:
`sentry_sdk.init(integrations=[GearmanIntegration()])`.

It needs the extra `sentry`. It uses the public names of Sentry's SDK only. The settings may import it.
"""

try:
    import sentry_sdk  # noqa: F401
except ImportError as error:
    raise ImportError(
        "Sentry's SDK is not installed: pip install 'django-gearman[sentry]'"
    ) from error

from .integration import GearmanIntegration

__all__ = ["GearmanIntegration"]
