"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# The first example may compile for seconds; no test is a time limit.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
