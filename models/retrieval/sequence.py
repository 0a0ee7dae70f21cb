"""A causal transformer over what a visitor did: foretells the next step from the ones before it.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, with a sampled softmax
instead of one negative a positive, a bias by age in the attention instead of positions (Zhai et
al., "Actions Speak Louder than Words", ICML 2024), and steps instead of items: the items of one
order are one step, so that no item of a basket helps to foretell another. What sells just now
enters as a bias of each item, weighed by the visitor's state.

Fitting needs torch; the fitted model answers in numpy.

    B  visitors    T  steps    N  items    D  width of a vector    H  heads    C  width of a head, D
       / H
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.sequences import Event, Sequences
from models.artifact import read_meta, read_tensors, write_meta, write_tensors
from models.retrieval.layers import gelu, linear, norm
from models.retrieval.steps import (
    Batch,
    LoopConfig,
    Steps,
    batch_of,
    gaps,
    latest,
    most_met,
    popularity,
    shares,
    steps_of,
)

KIND = "sequence"


@dataclass(frozen=True)
class SequenceConfig:
    """`width` of a vector, a multiple of `n_heads`."""

    width: int = 64
    n_layers: int = 2
    n_heads: int = 2
    dropout: float = 0.2
    loop: LoopConfig = field(default_factory=LoopConfig)


class SequenceModel:
    """The fitted network.

    item_ids     str objects, sorted
    weights      float32 arrays by their name in the network
    popularity   float32 (N,), logarithm of recent steps as of the fit, 1 for the most popular item
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        weights: Mapping[str, np.ndarray],
        popularity: Float32Array,
        *,
        n_heads: int,
        max_steps: int,
    ) -> None:
        self.item_ids, self.weights, self.popularity = item_ids, dict(weights), popularity
        self.n_heads, self.max_steps = n_heads, max_steps
        self._n_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})

    def score(self, visitors: Sequence[Sequence[Event]]) -> Float32Array:
        """Chance of each item to be the next new one (B, N), by visitor; 0 for one who did
        nothing."""
        scores = np.zeros((len(visitors), len(self.item_ids)), np.float32)
        steps, places = steps_of(visitors, self.item_ids)
        if len(places):
            scores[places] = self.score_pieces(steps, latest(steps, self.max_steps))
        return scores

    def score_pieces(self, steps: Steps, pieces: Sequence[tuple[int, int]]) -> Float32Array:
        """The same after each piece (none of them empty) of `steps` over this model's items."""
        states, weight = self._states(batch_of(steps, pieces))  # (B, T, D), (B, T)
        rows, last = np.arange(len(pieces)), np.array([end - first - 1 for first, end in pieces])
        logits = states[rows, last] @ self.weights["items.weight"].T + self.weights["bias"]
        return shares(logits + weight[rows, last][:, None] * self.popularity)

    def _states(self, batch: Batch) -> tuple[Float32Array, Float32Array]:
        """What `SequenceNetwork.states` does."""
        B, T = batch.kind.shape
        vectors = self.weights["items.weight"]
        x = np.zeros((B * T, vectors.shape[1]), np.float32)
        sizes = np.diff(batch.offsets)
        np.add.at(x, np.repeat(np.arange(B * T), sizes), vectors[batch.items])
        x = (x / np.sqrt(np.maximum(sizes, 1))[:, None].astype(np.float32)).reshape(B, T, -1)
        x = x + self.weights["kind.weight"][batch.kind] + self.weights["gap.weight"][batch.gap]
        x = norm(self.weights, "norm_in", x)
        ages = gaps(batch.hours[:, :, None] - batch.hours[:, None, :])  # (B, T, T)
        for layer in range(self._n_layers):
            x = self._block(f"blocks.{layer}.", x, ages)
        x = norm(self.weights, "norm_out", x)
        return x, linear(self.weights, "popular", x)[..., 0]

    def _block(self, name: str, x: Float32Array, ages: Int64Array) -> Float32Array:
        B, T, D = x.shape
        C = D // self.n_heads
        mixed = linear(
            self.weights, f"{name}qkv", norm(self.weights, f"{name}norm_1", x)
        )  # (B, T, 3 D)
        mixed = mixed.reshape(B, T, 3, self.n_heads, C)
        q, k, v = mixed.transpose(2, 0, 3, 1, 4)  # each (B, H, T, C)
        logits = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(C))  # (B, H, T, T)
        logits = logits + self.weights[f"{name}age.weight"][ages].transpose(0, 3, 1, 2)
        logits[..., ~np.tri(T, dtype=bool)] = -1e9
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        attended = (powers / powers.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(B, T, D)
        x = x + linear(self.weights, f"{name}out", attended)
        hidden = linear(
            self.weights, f"{name}up", norm(self.weights, f"{name}norm_2", x)
        )  # (B, T, 2 D)
        hidden = gelu(hidden)
        return np.asarray(x + linear(self.weights, f"{name}down", hidden), np.float32)

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `weights.safetensors`."""
        meta = {
            "item_ids": self.item_ids.tolist(),
            "n_heads": self.n_heads,
            "max_steps": self.max_steps,
        }
        write_meta(folder, KIND, meta)
        write_tensors(
            folder / "weights.safetensors", {**self.weights, "popularity": self.popularity}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        meta, weights = read_meta(folder, KIND), read_tensors(folder / "weights.safetensors")
        popular = weights.pop("popularity")
        item_ids = np.array(meta["item_ids"], object)
        return cls(item_ids, weights, popular, n_heads=meta["n_heads"], max_steps=meta["max_steps"])


def fit_sequence(
    sequences: Sequences,
    config: SequenceConfig,
    *,
    now: int,
    seed: int,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> SequenceModel:
    """Fits on what occurred before `now` (epoch seconds); `folder` is where checkpoints are kept.

    Raises BadInput when nobody did anything.
    """
    # Here, because a server answers without torch.
    from models.retrieval.neural import train_network, weights_of
    from models.retrieval.sequence_network import SequenceNetwork

    if config.width % config.n_heads:
        raise BadInput(
            f"sequence.width {config.width} is no multiple of sequence.n_heads {config.n_heads}",
            hint="Try width 64",
        )
    if not sequences.n_visitors:
        raise BadInput(
            "no visitor did anything before the cut",
            hint="Import more history, or choose a later --until",
        )
    item_ids = most_met(sequences, config.loop)
    steps = Steps.of(sequences, item_ids)

    def build() -> SequenceNetwork:
        return SequenceNetwork(
            len(item_ids), config.width, config.n_layers, config.n_heads, config.dropout
        )

    network = train_network(
        build, steps, len(item_ids), now, config.loop, seed=seed, folder=folder, progress=progress
    )
    popular = popularity(steps, len(item_ids), now, 1)[0]
    return SequenceModel(
        item_ids,
        weights_of(network),
        popular,
        n_heads=config.n_heads,
        max_steps=config.loop.max_steps,
    )
