"""The transport to real job servers, over the python-gearman bindings."""

from .backend import PythonGearmanBackend

__all__ = ["PythonGearmanBackend"]
