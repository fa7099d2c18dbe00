"""
Signals of jobs and workers. If a receiver raises, Django logs the error, and the job continues.

The sender is the `Job`, or None for a job that this process does not know.
"""

from django.dispatch import Signal

#: A job was sent to a job server. Arguments: request (JobRequest).
job_submitted = Signal()
#: A background job could not be submitted after its transaction had committed. Arguments: request
#: (JobRequest, with the exception), exception.
submit_failed = Signal()
#: A worker starts a job. Arguments: context (JobContext).
job_started = Signal()
#: A job is queued again, before this run of it has finished: it asked for that with RetryJob, or
#: failed and has attempts left. Arguments: context (JobContext), handle (of the next run), delay
#: (seconds from now), exception.
job_retried = Signal()
#: A job has failed, and is not retried. Arguments: context (JobContext), exception.
job_failed = Signal()
#: A worker has finished a job. Arguments: context (JobContext), outcome (WorkComplete or WorkFail),
#: exception (what the job raised, also a RetryJob, or None), seconds (float), state ("succeeded",
#: "retried", "cancelled" or "failed").
job_finished = Signal()
#: A worker is about to request its first job, or will request no more. Arguments: worker
#: (GearmanWorker); the sender is its class.
worker_started = Signal()
worker_stopping = Signal()
