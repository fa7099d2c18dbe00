"""Replace the worker's processes when a file of the project changes, for development."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.utils import autoreload


def reload_on_change() -> None:
    """Watch the project's files in a thread, and send this process SIGHUP when one changes."""

    def on_change(**kwargs: Any) -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        return True  # it is taken care of

    autoreload.file_changed.connect(on_change, weak=False)
    reloader = autoreload.get_reloader()
    threading.Thread(target=reloader.run, args=[threading.main_thread()], daemon=True).start()
