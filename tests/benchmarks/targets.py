"""Targets of benchmarks, printed one a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Target:
    """One line of a benchmark: a target, what was measured, and whether the target is met."""

    name: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"{'met' if self.met else 'missed':<8}{self.name}: {self.measured}"


def exit_with(targets: Sequence[Target]) -> NoReturn:
    """Print the targets and end the process, with 1 when one is missed."""
    print()
    for target in targets:
        print(target)
    sys.exit(0 if all(target.met for target in targets) else 1)
