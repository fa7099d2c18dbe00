"""A demo in one terminal: a job server, worker processes and a client. `make demo` runs it."""
