"""A module that needs the library where it is not installed."""

raise ModuleNotFoundError("No module named 'prometheus_client'", name="prometheus_client")
