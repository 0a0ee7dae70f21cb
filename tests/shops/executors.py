"""Executors of tests: work that is done at once."""

from __future__ import annotations

from concurrent.futures import Executor, Future


class AtOnce(Executor):
    """Does the work where it is submitted."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done
