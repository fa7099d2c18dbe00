"""
The outbox: jobs are rows in the transaction of their submitter, and are sent when it commits.

`submitting` writes the rows and sends them at once after the commit, and `clearing` deletes them. The
relay sends what a crash or an outage leaves.
"""
