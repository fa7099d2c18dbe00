"""A project of jobs to torment; each release is a copy of it."""
