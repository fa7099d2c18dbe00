"""The transport to real job servers, over our own protocol code."""

from .backend import GearmandBackend

__all__ = ["GearmandBackend"]
