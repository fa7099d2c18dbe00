"""Small tools that know nothing of jobs: clock, text, loggers, interrupts."""
