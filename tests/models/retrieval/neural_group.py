"""Started by torchrun: fits the sequence model on a toy shop and prints its weights' sums; alone it
is one process."""

from __future__ import annotations

import sys
from pathlib import Path

from models.retrieval.neural import processes
from models.retrieval.sequence import fit_sequence
from tests.shops.tastes import CONFIG, NOW, shop

if __name__ == "__main__":
    with processes() as rank:
        model = fit_sequence(
            shop(), CONFIG, now=NOW, seed=5, folder=Path(sys.argv[1]) / "checkpoints"
        )
        if not rank:
            model.save(Path(sys.argv[1]) / "model")
