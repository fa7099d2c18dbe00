"""What is done to workers; each module has `TITLE` and `run(report, ground, quick)`."""
