"""
The transport to real job servers, over the python-gearman bindings.

It is frozen: it works and is tested, and gets corrections only. New features go to `gearmand`.
"""

from .backend import PythonGearmanBackend

__all__ = ["PythonGearmanBackend"]
