"""
Soak tests: real workers and a real gearmand, killed, stopped, cut off and reloaded under load.

    make soak
    python -m soak --quick kills poison

Each scenario prints its numbers, and says if it kept the guarantees of the documentation.
"""
