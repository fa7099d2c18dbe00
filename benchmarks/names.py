"""The names of systems and figures."""

from __future__ import annotations

OURS, C, RAW = "gearman", "libgearman C", "raw Python"
STORE = "gearman, store installed"
INCLUDED, INCLUDED_RAW = "included server", "raw Python, included"
INCLUDED_STORED, GEARMAND_STORED = "raw Python, included, stored", "raw Python, libsqlite3"
PEERS = ("celery", "rq", "dramatiq", "huey", "django-tasks-db")
THREADED, ASYNCHRONOUS = ("celery", "dramatiq", "huey"), ("arq", "saq", "taskiq", "procrastinate")
TASKS, STORED_TASKS, OUTBOX_TASKS = "tasks", "tasks, stored", "tasks, outbox"
OX, TASKS_DB = "django-ox", "django-tasks-db, PostgreSQL"
OUTBOX = "outbox"

ROUND_TRIP, LARGE = "round trip, 100 B, p50", "round trip, 100 KB, p50"
SUBMIT, BULK, MANY = "submit, 100 B", "submit in bulk, 100 B", "enqueue_many, 100 B"
DRAIN, DRAIN_BY_TWO = "drain, 100 B", "drain by two workers, 100 B"
MAPPED, SINGLY = "two workers, map of 1,000", "two workers, one by one"
MEMORY_OF_ONE, MEMORY_OF_FIVE = "memory of 1 worker", "memory of 5 workers"
ALONE, BESIDE_DELAYED = "10,000 jobs alone", "10,000 jobs beside 100,000 delayed"
QUEUED = "queue 100,000 jobs, growth"
WAKE_UPS = "idle worker, wake-ups"

AWAITED = "await 1,000 jobs of 50 ms at once"
ASYNC_NOOP, NAPS = "async no-op, 200 slots", "50 ms in 50 threads"
DOZES = "50 ms in 1,000 coroutines"

STORED_INSTRUCTIONS = "instructions of a job, store installed"
JOB_INSTRUCTIONS = "instructions of a job"
RELAY, TRANSACTION = "relay of the outbox", "transaction"
TRANSACTION_WITH_JOB = "transaction with a job in the outbox"
LATENCY = "from commit to run through the outbox, p50"

EAGER, IN_TEST = "eager job, over a plain call", "job in a test, over a plain call"
PLUGIN = "pytest plugin, over a session without"
TRACED, BARE = "traced job, over the SDK, CPU", "OpenTelemetry's SDK for two spans, CPU"
COUNTED, UNCOUNTED = "job with metrics, CPU", "job without metrics, CPU for them"
SCRAPE = "page of metrics after 1,000 processes"


def cpu(title: str, part: str = "") -> str:
    """Return the name of the processor time of a figure's jobs, of all parts or of one."""
    return f"{title}, CPU of the {part}" if part else f"{title}, CPU"
