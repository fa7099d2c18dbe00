"""
The store: records of jobs, their results and failures, and the tables of the outbox and schedules.

Add "django_gearman.contrib.store" to INSTALLED_APPS, and run `manage.py migrate`.
"""
