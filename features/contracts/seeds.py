"""Randomness is a passed-in generator; one seed and a purpose make one stream."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator that depends on nothing but `seed` and `purpose`, so that adding a stream never
    moves another."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
