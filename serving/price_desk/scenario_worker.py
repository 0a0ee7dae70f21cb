"""The thread that computes scenarios, one after the other, and does not outlast its server."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)
_TOKEN = secrets.token_hex(4)  # of this process: numbers of processes are used again


class Interrupted(Exception):
    """The server stops: what is being computed is not wanted any more."""


class ScenarioWorker:
    """Does one task after the other on a thread of its own.

    The thread is a daemon: what it computes ends with the process.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def submit(self, task: Callable[[], None]) -> None:
        """Do a task after those that were submitted before; the first begins the thread."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="scenarios", daemon=True)
                self._thread.start()
        self._tasks.put(task)

    def refuse_stopped(self) -> None:
        """Raise Interrupted once the server stops; tasks ask between their steps."""
        if self._stopping.is_set():
            raise Interrupted

    def stop(self, patience: float) -> None:
        """Begin no other task, and wait so many seconds for the step that is being computed."""
        self._stopping.set()
        self._tasks.put(None)
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        while not self._stopping.is_set():
            task = self._tasks.get()
            if task is not None and not self._stopping.is_set():
                try:
                    task()
                except Exception:  # the next ones are done all the same
                    log.exception("a task of the price desk failed")


def name_process() -> str:
    """Return the name of this process, by which others on its host know whether it goes on."""
    return f"{socket.gethostname()}:{os.getpid()}:{_TOKEN}"


def has_ended(process: str) -> bool:
    """Return whether a process of this host has ended; of other hosts nothing is known."""
    host, number, token = process.rsplit(":", 2)
    if host != socket.gethostname() or process == name_process():
        return False
    if int(number) == os.getpid():
        return token != _TOKEN
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
