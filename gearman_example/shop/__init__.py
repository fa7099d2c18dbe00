"""
A small shop, as an example of a site with background jobs: pictures, an import, and a list of jobs.

`make demo-web` starts it. Read `gearman_jobs.py` first, then `views.py` and `models.py`.
"""
