"""
The scheduler: it submits jobs at the times that a project declares.

Any number of schedulers may run. A tick is a row with a unique constraint, written in one transaction
with the outbox row of its job. So each tick submits one job, whatever dies and however clocks differ.
"""
