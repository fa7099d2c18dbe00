"""A Gearman job server in Python: its rules, its conversations, and its store. Knows no Django."""
