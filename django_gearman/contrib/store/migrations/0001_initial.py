"""The tables of the store, the outbox and the schedules."""

from django.db import migrations, models

from django_gearman.contrib.store.fields import KeyField
from django_gearman.contrib.store.functions import DatabaseTime


class Migration(migrations.Migration):
    initial = True

    dependencies = ()

    operations = [
        migrations.CreateModel(
            name="OutboxJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.CharField(max_length=63)),
                ("function", models.CharField(max_length=512)),
                ("unique", models.CharField(max_length=63)),
                ("workload", models.BinaryField()),
                ("priority", models.SmallIntegerField(default=0)),
                ("run_at", models.FloatField(null=True)),
                ("external", models.BooleanField(default=False)),
                ("servers", models.TextField(default="")),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("last_error", models.TextField(default="")),
                (
                    "next_try_at",
                    models.DateTimeField(
                        db_default=DatabaseTime(seconds=5), db_index=True, null=True
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=DatabaseTime())),
            ],
            options={
                "verbose_name": "job in the outbox",
                "verbose_name_plural": "jobs in the outbox",
                "db_table": "gearman_outbox",
            },
        ),
        migrations.CreateModel(
            name="PausedQueue",
            fields=[
                ("queue", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("paused_by", models.CharField(default="", max_length=255)),
                ("paused_at", models.DateTimeField(db_default=DatabaseTime())),
            ],
            options={
                "db_table": "gearman_pausedqueue",
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("first_seen", models.DateTimeField(db_default=DatabaseTime())),
                ("starts", models.JSONField(default=dict)),
                ("paused_by", models.CharField(default="", max_length=255)),
                ("paused_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "gearman_schedule",
            },
        ),
        migrations.CreateModel(
            name="JobRecord",
            fields=[
                ("id", KeyField(max_length=63, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                ("queue", models.CharField(default="", max_length=255)),
                ("backend", models.CharField(default="", max_length=64)),
                ("function", models.CharField(max_length=255)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("READY", "Ready"),
                            ("RUNNING", "Running"),
                            ("SUCCESSFUL", "Successful"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        default="READY",
                        max_length=10,
                    ),
                ),
                ("call", models.TextField(default="")),
                ("workload", models.BinaryField(null=True)),
                ("unique", models.CharField(default="", max_length=255)),
                ("priority", models.SmallIntegerField(default=0)),
                ("run_after", models.DateTimeField(null=True)),
                ("context", models.JSONField(default=dict)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("run", models.PositiveIntegerField(default=0)),
                ("worker_ids", models.JSONField(default=list)),
                ("errors", models.JSONField(default=list)),
                ("exception", models.CharField(default="", max_length=200)),
                ("fingerprint", models.CharField(default="", max_length=16)),
                ("result", models.BinaryField(null=True)),
                ("handle", models.CharField(default="", max_length=255)),
                ("enqueued_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("last_attempted_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "job",
                "db_table": "gearman_jobrecord",
                "permissions": (
                    ("retry_jobrecord", "Can run failed jobs again"),
                    ("discard_jobrecord", "Can discard failed jobs"),
                    ("cancel_jobrecord", "Can cancel jobs"),
                    ("control_worker", "Can control workers, queues and schedules"),
                    ("view_call", "Can view the arguments of jobs"),
                ),
                "indexes": [
                    models.Index(fields=["expires_at"], name="gearman_jobrecord_expires"),
                    models.Index(
                        fields=["status", "enqueued_at", "queue", "name", "run_after"],
                        name="gearman_jobrecord_waiting",
                    ),
                    models.Index(
                        fields=[
                            "status",
                            "finished_at",
                            "queue",
                            "name",
                            "exception",
                            "fingerprint",
                        ],
                        name="gearman_jobrecord_ended",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Tick",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("schedule", models.CharField(max_length=255)),
                ("due_at", models.DateTimeField()),
                ("job_id", models.CharField(max_length=63)),
                ("created_at", models.DateTimeField(db_default=DatabaseTime())),
            ],
            options={
                "db_table": "gearman_tick",
                "constraints": [
                    models.UniqueConstraint(fields=("schedule", "due_at"), name="gearman_tick_once")
                ],
            },
        ),
    ]
