"""The networks beside EASE and popularity, on a shop where tastes decide."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from features.contracts.sequences import PURCHASE, Sequences
from models.retrieval.ease import EaseConfig
from models.retrieval.sequence import SequenceConfig
from models.retrieval.steps import NetworkTraining
from models.retrieval.two_tower import TwoTowerConfig
from tests.shops.tastes import DAY, LOOP, draw_sequences, make_items
from training.recommendations.neural import NeuralConfig, evaluate_networks, fit_networks
from training.splits import Window

CUT = 5 * DAY  # of six days


def past_of(everything: Sequences) -> Sequences:
    sizes = np.diff(everything.item_starts)
    visitor = np.repeat(
        np.repeat(np.arange(everything.n_visitors), np.diff(everything.starts)), sizes
    )
    at, kind = np.repeat(everything.at, sizes), np.repeat(everything.kind, sizes)
    kept = at < CUT
    ids = everything.item_ids[everything.items]
    return Sequences.from_lines(
        everything.visitor_ids[visitor][kept], at[kept], kind[kept], ids[kept]
    )


def test_networks_that_learn_tastes_stand_above_popularity() -> None:
    everything = draw_sequences(80)
    past = past_of(everything)
    loop = replace(LOOP, n_epochs=10)
    config = NeuralConfig(
        sequence=SequenceConfig(width=8, n_layers=1, dropout=0.0, loop=loop),
        two_tower=TwoTowerConfig(width=8, dropout=0.0, loop=loop),
        ease=EaseConfig(l2=10.0),
    )
    models = fit_networks(past, make_items(), config, NetworkTraining(CUT, seed=1))
    window = Window(datetime.fromtimestamp(CUT, UTC), datetime.fromtimestamp(CUT + DAY, UTC))
    found = {
        (each.question, each.method): each
        for each in evaluate_networks(everything, past, window, models, config)
    }
    assert len(found) == 3 * 4
    popular = found["new items, 4 weeks", "recent popularity"].value
    for name in ("sequence", "two tower", "EASE"):
        assert found["new items, 4 weeks", name].value > 1.3 * popular
    # The window holds one order of each, so its new items are those of the next basket.
    for name in ("sequence", "two tower", "EASE", "recent popularity"):
        assert (
            found["new items, 4 weeks", name].value == found["new items, next basket", name].value
        )
    assert (past.kind == PURCHASE).all()


def test_a_fitted_network_answers_without_torch() -> None:
    code = (
        "import sys, models.retrieval.sequence, models.retrieval.two_tower; "
        "print([m for m in ('torch', 'duckdb', 'ibis', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
