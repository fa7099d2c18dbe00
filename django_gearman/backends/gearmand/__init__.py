"""The transport to real job servers, with our own protocol code."""

from .backend import GearmandBackend

__all__ = ["GearmandBackend"]
