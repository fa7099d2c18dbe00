"""Workers: they run jobs and report the outcomes."""
