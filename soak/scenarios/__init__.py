"""The scenarios; each module has `TITLE` and `run(report, ground, quick)`."""
