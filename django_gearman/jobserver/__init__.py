"""A Gearman job server in Python: its rules, its connections and its store. It knows no Django."""
