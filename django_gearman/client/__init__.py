"""Clients: they submit jobs and wait for results."""
