"""Declared jobs: their registry, options, retries and contexts."""
