"""The protocols every model follows: a fitter makes a model; a model saves, loads and answers in
batches."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self


class Model(Protocol):
    """A fitted thing. It knows numpy, Arrow and the contracts, and no store."""

    def save(self, folder: Path) -> None:
        """Writes native text, npz, safetensors or JSON files into `folder`, never pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises BadInput when `folder` does not hold this model."""
        ...
