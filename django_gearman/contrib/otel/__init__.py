"""
Traces and metrics of jobs by OpenTelemetry:
`GEARMAN_MIDDLEWARE = ["django_gearman.contrib.otel.middleware"]`.

It needs the extra `otel`, which is OpenTelemetry's API only. Without an SDK, which the project chooses
and sets up, nothing is recorded.
"""

try:
    import opentelemetry.trace  # noqa: F401
except ImportError as error:
    raise ImportError(
        "OpenTelemetry's API is not installed: pip install 'django-gearman[otel]'"
    ) from error

from .tracing import OpenTelemetryMiddleware

__all__ = ["OpenTelemetryMiddleware", "middleware"]

#: The element of GEARMAN_MIDDLEWARE.
middleware = OpenTelemetryMiddleware
