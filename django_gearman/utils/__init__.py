"""Small tools without knowledge of jobs: clock, text, loggers, interrupts."""
