"""
Signals around jobs. A receiver that fails is logged by Django, and changes nothing for the job.

The sender is the `Job`, or None for a job that this process does not know.
"""

from django.dispatch import Signal

#: A job has been handed to a server. Arguments: request (JobRequest).
job_submitted = Signal()
#: A worker starts a job. Arguments: context (JobContext).
job_started = Signal()
#: A job that asked for it with RetryJob is queued again, before this run of it has finished.
#: Arguments: context (JobContext), handle (of the next run), delay (seconds from now).
job_retried = Signal()
#: A worker has finished a job. Arguments: context (JobContext), outcome (WorkComplete or WorkFail),
#: exception (what the job raised, also a RetryJob, or None), seconds (float).
job_finished = Signal()
