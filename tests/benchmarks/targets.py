"""Targets of benchmarks, printed one a line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One line of a benchmark: a target, what was measured, and whether the target is met."""

    name: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"{'met' if self.met else 'missed':<8}{self.name}: {self.measured}"
