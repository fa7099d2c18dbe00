"""
Metrics for Prometheus: of worker processes, job servers and the store.

`gearman_worker --metrics 127.0.0.1:9191` serves them for its processes. In a web process, register
`collector()`. Both need the extra "prometheus", and nothing in INSTALLED_APPS.
"""

from .web import collector

__all__ = ["collector"]
