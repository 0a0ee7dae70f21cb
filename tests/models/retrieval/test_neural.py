"""The networks' training loop and both networks on shops of known structure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.contracts.errors import BadInput
from features.contracts.sequences import CART, PURCHASE, VIEW, Event, Sequences, build_sequences
from models.retrieval.examples import Examples, Pairs
from models.retrieval.sequence import SequenceConfig, SequenceModel, fit_sequence
from models.retrieval.sequence_network import SequenceNetwork
from models.retrieval.steps import (
    SECONDS_PER_WEEK,
    NetworkTraining,
    Steps,
    build_steps,
    compute_popularity,
    make_batch,
    select_latest,
)
from models.retrieval.training_loop import TensorBatch
from models.retrieval.two_tower import TwoTower, TwoTowerConfig, fit_two_tower
from tests.shops.tastes import CONFIG, DAY, LOOP, NOW, draw_sequences, make_items

ROOT = Path(__file__).parents[3]
TEA = [
    Event("tea00", PURCHASE, 2 * DAY),
    Event("tea01", PURCHASE, 2 * DAY),
    Event("tea02", VIEW, 60.0),
]


@pytest.fixture(scope="module")
def sequence() -> SequenceModel:
    return fit_sequence(draw_sequences(), CONFIG, NetworkTraining(NOW, 5))


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    config = TwoTowerConfig(width=8, dropout=0.0, id_dropout=0.3, loop=LOOP)
    return fit_two_tower(draw_sequences(), make_items(), config, NetworkTraining(NOW, 5))


def compute_share(model: SequenceModel | TwoTower, events: list[Event], taste: str) -> float:
    """Return the probability that the next item is of a taste."""
    of_taste = np.array([str(item_id).startswith(taste) for item_id in model.item_ids])
    return float(model.score([events])[0][of_taste].sum())


def test_items_of_one_order_are_one_step_and_repeated_rows_count_once() -> None:
    sequences = build_sequences(
        [[Event("b", PURCHASE, 5.0), Event("a", PURCHASE, 5.0), Event("a", PURCHASE, 5.0)], []]
    )
    assert sequences.at.tolist() == [-5]
    assert sequences.item_starts.tolist() == [0, 2]
    assert sequences.items.tolist() == [0, 1]
    assert sequences.events(0, 0) == [Event("a", PURCHASE, 5.0), Event("b", PURCHASE, 5.0)]


def test_an_order_is_predicted_from_the_steps_before_it_and_never_from_itself() -> None:
    orders = [
        Event("a", PURCHASE, 9.0),
        Event("b", PURCHASE, 5.0),
        Event("c", PURCHASE, 5.0),
        Event("a", CART, 1.0),
    ]
    steps, _ = build_steps([orders], np.array(["a", "b", "c"], object))
    pairs = Pairs.from_segments(Examples.from_steps(steps, "all"), [(0, 3)], 2)
    states_and_items = zip(pairs.state[pairs.pair].tolist(), pairs.item.tolist(), strict=True)
    assert list(states_and_items) == [(0, 1), (0, 2), (1, 0)]
    new = Pairs.from_segments(Examples.from_steps(steps, "new"), [(0, 3)], 2)
    assert new.item.tolist() == [1, 2]  # a was met before


def test_a_state_does_not_change_with_what_comes_after_it() -> None:
    steps = Steps.from_sequences(draw_sequences(4), draw_sequences(4).item_ids)
    torch.manual_seed(0)
    network = SequenceNetwork(len(draw_sequences(4).item_ids), 8, 2, 2, 0.0).eval()
    for block in network.blocks:
        torch.nn.init.normal_(block.out.weight)
    long, short = (
        network.states(
            TensorBatch.from_batch(make_batch(steps, [(0, end)]), "cpu"), network.items.weight
        )[0]
        for end in (6, 3)
    )
    assert torch.allclose(long[0, :3], short[0], atol=1e-6)


def test_popularity_looks_back_and_never_at_its_own_week() -> None:
    orders = [
        Event("a", PURCHASE, 0.5 * SECONDS_PER_WEEK),
        Event("b", PURCHASE, 5.5 * SECONDS_PER_WEEK),
    ]
    steps, _ = build_steps([orders], np.array(["a", "b"], object))
    # In the 4 weeks up to now a was bought; in those up to a week ago nothing, before that b.
    assert compute_popularity(steps, 2, 0, 4).tolist() == [[1, 0], [0, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("name", ["sequence", "towers"])
def test_a_session_of_views_moves_to_its_taste(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    viewed = [Event("tool03", PURCHASE, 30.0), Event("tool04", PURCHASE, 20.0)]
    assert compute_share(model, TEA[:2], "tea") > 0.75
    assert compute_share(model, viewed, "tool") > 0.75


@pytest.mark.parametrize("name", ["sequence", "towers"])
def test_an_answer_does_not_depend_on_who_else_is_asked_for(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    alone = model.score([TEA])[0]
    together = model.score([[], TEA, [Event("tool01", PURCHASE, 9.0 * DAY * n) for n in range(30)]])
    assert together[1] == pytest.approx(alone, abs=1e-6)
    assert not together[0].any()
    assert together[2].sum() == pytest.approx(1, abs=1e-4)


def test_numpy_computes_what_torch_does(sequence: SequenceModel) -> None:
    network = SequenceNetwork(len(sequence.item_ids), 8, 1, 2, 0.0).eval()
    network.load_state_dict(
        {name: torch.from_numpy(weight) for name, weight in sequence.weights.items()}
    )
    steps, _ = build_steps([TEA, TEA[:2]], sequence.item_ids)
    batch = make_batch(steps, select_latest(steps, 64))
    with torch.no_grad():
        vectors, bias = network.item_vectors()
        states, weight = network.states(TensorBatch.from_batch(batch, "cpu"), vectors)
        logits = (
            states @ vectors.T + bias + weight[..., None] * torch.from_numpy(sequence.popularity)
        )
    expected = torch.stack([logits[0, 1], logits[1, 0]]).softmax(-1).numpy()
    assert sequence.score([TEA, TEA[:2]]) == pytest.approx(expected, abs=1e-6)


def test_a_killed_training_continues_to_the_weights_it_would_have_had(
    tmp_path: Path, sequence: SequenceModel
) -> None:
    reports: list[str] = []

    def kill_at_epoch_7(text: str) -> None:
        if "epoch 7" in text:
            raise KeyboardInterrupt

    config = replace(CONFIG, dropout=0.1)
    whole = fit_sequence(draw_sequences(), config, NetworkTraining(NOW, 5))
    with pytest.raises(KeyboardInterrupt):
        fit_sequence(draw_sequences(), config, NetworkTraining(NOW, 5, tmp_path, kill_at_epoch_7))
    resumed = fit_sequence(
        draw_sequences(), config, NetworkTraining(NOW, 5, tmp_path, reports.append)
    )
    assert reports[0] == "final: continuing after epoch 7"
    assert len(reports) == 1 + LOOP.n_epochs - 7
    for name, weights in whole.weights.items():
        assert resumed.weights[name].tolist() == weights.tolist(), name
    # Another seed is another training.
    other: list[str] = []
    fit_sequence(draw_sequences(), config, NetworkTraining(NOW, 6, tmp_path, other.append))
    assert other[0].startswith("final: epoch 1 ")


def test_training_stops_early_where_nothing_improves() -> None:
    reports: list[str] = []
    loop = replace(LOOP, validation_weeks=1, patience=2, n_epochs=30)
    fit_sequence(
        draw_sequences(),
        replace(CONFIG, loop=loop),
        NetworkTraining(NOW, 5, progress=reports.append),
    )
    searched = [report for report in reports if report.startswith("search")]
    refitted = [report for report in reports if report.startswith("final")]
    assert len(searched) < 30
    assert len(refitted) == len(searched) - loop.patience


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Gradients are summed in another order, so weights agree to 0.001 after 75 steps, not bit by
    bit.

    The bias of the keys adds the same to every logit of a query, so that softmax takes it out: its
    gradient is nothing but rounding, and Adam makes steps of that.
    """
    group = "tests.models.retrieval.neural_group"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", group]
    commands = {1: [sys.executable, "-m", group], 2: [sys.executable, *torchrun]}
    models = {}
    for n, command in commands.items():
        done = subprocess.run(
            [*command, str(tmp_path / str(n))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        models[n] = SequenceModel.load(tmp_path / str(n) / "model")
    for name, weights in models[1].weights.items():
        is_compared = np.ones(len(weights), bool)
        if name.endswith("qkv.bias"):
            is_compared[len(weights) // 3 : 2 * len(weights) // 3] = False
        assert models[2].weights[name][is_compared] == pytest.approx(
            weights[is_compared], abs=1e-3
        ), name
    assert models[2].score([TEA]) == pytest.approx(models[1].score([TEA]), abs=1e-3)


def test_nobody_and_an_odd_width_are_refused() -> None:
    nobody = build_sequences([])
    assert isinstance(nobody, Sequences)
    with pytest.raises(BadInput, match="no visitor"):
        fit_sequence(nobody, CONFIG, NetworkTraining(NOW, 1))
    with pytest.raises(BadInput, match="no multiple"):
        fit_sequence(draw_sequences(), SequenceConfig(width=9, n_heads=2), NetworkTraining(NOW, 1))
