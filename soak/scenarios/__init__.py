"""Trouble for workers; each module has `TITLE` and `run(report, ground, quick)`."""
