"""Started by torchrun: fits the sequence model on a toy shop and prints its weights' sums; alone it
is one process."""

from __future__ import annotations

import sys
from pathlib import Path

from models.retrieval.process_group import join_processes
from models.retrieval.sequence import fit_sequence
from models.retrieval.steps import NetworkTraining
from tests.shops.tastes import CONFIG, NOW, draw_sequences

if __name__ == "__main__":
    with join_processes() as rank:
        run = NetworkTraining(NOW, seed=5, folder=Path(sys.argv[1]) / "checkpoints")
        model = fit_sequence(draw_sequences(), CONFIG, run)
        if not rank:
            model.save(Path(sys.argv[1]) / "model")
