"""A causal transformer over the steps of a visitor: predicts the next step from those before it.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, with a sampled softmax
instead of one negative a positive, a bias by age in the attention instead of positions (Zhai et
al., "Actions Speak Louder than Words", ICML 2024), and steps instead of items: the items of one
order are one step, so that no item of a basket helps to predict another. Recent popularity enters
as a bias of each item, weighted by the visitor's state.

Fitting needs torch; the fitted model predicts in numpy.

    B  visitors    T  steps    N  items    D  width of a vector    H  heads
    C  width of a head, D / H
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import AnyArray, Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.sequences import Sequences
from models.artifact import read_meta, read_tensors, write_meta, write_tensors
from models.retrieval.layers import gelu, layer_norm, linear
from models.retrieval.next_step_model import NextStepModel
from models.retrieval.steps import (
    Batch,
    LoopConfig,
    NetworkTraining,
    Segment,
    Steps,
    bucket_times,
    compute_popularity,
    make_batch,
    select_items,
    softmax,
)

KIND = "sequence"


@dataclass(frozen=True)
class SequenceConfig:
    """Shape of the network; `width` is that of a vector, a multiple of `n_heads`."""

    width: int = 64
    n_layers: int = 2
    n_heads: int = 2
    dropout: float = 0.2
    loop: LoopConfig = field(default_factory=LoopConfig)


class SequenceModel(NextStepModel):
    """The fitted network.

    item_ids     str objects, sorted
    weights      float32 arrays by their name in the network
    popularity   float32 (N,), logarithm of recent steps as of the fit, 1 for the most popular item
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        weights: Mapping[str, AnyArray],
        popularity: Float32Array,
        *,
        n_heads: int,
        max_steps: int,
    ) -> None:
        self.item_ids, self.weights, self.popularity = item_ids, dict(weights), popularity
        self.n_heads, self.max_steps = n_heads, max_steps
        self._n_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})

    def score_segments(self, steps: Steps, segments: Sequence[Segment]) -> Float32Array:
        """Return the probability (B, N) of each item to be the next new one after each segment."""
        states, weight = self._states(make_batch(steps, segments))  # (B, T, D), (B, T)
        rows = np.arange(len(segments))
        last = np.array([end - first - 1 for first, end in segments])
        logits = states[rows, last] @ self.weights["items.weight"].T + self.weights["bias"]
        return softmax(logits + weight[rows, last][:, None] * self.popularity)

    def _states(self, batch: Batch) -> tuple[Float32Array, Float32Array]:
        """Return what `SequenceNetwork.states` does: (B, T, D) and (B, T)."""
        B, T = batch.kind.shape
        vectors = self.weights["items.weight"]  # (N, D)
        x = np.zeros((B * T, vectors.shape[1]), np.float32)
        sizes = np.diff(batch.offsets)  # (B T,)
        np.add.at(x, np.repeat(np.arange(B * T), sizes), vectors[batch.items])
        x = (x / np.sqrt(np.maximum(sizes, 1))[:, None].astype(np.float32)).reshape(B, T, -1)
        x = x + self.weights["kind.weight"][batch.kind] + self.weights["gap.weight"][batch.gap]
        x = layer_norm(self.weights, "norm_in", x)  # (B, T, D)
        ages = bucket_times(batch.hours[:, :, None] - batch.hours[:, None, :])  # (B, T, T)
        for layer in range(self._n_layers):
            x = self._apply_block(f"blocks.{layer}.", x, ages)
        x = layer_norm(self.weights, "norm_out", x)
        return x, linear(self.weights, "popular", x)[..., 0]

    def _apply_block(self, name: str, x: Float32Array, ages: Int64Array) -> Float32Array:
        """Return what `Block.forward` does: (B, T, D)."""
        B, T, D = x.shape
        C = D // self.n_heads
        normed = layer_norm(self.weights, f"{name}norm_1", x)
        qkv = linear(self.weights, f"{name}qkv", normed)  # (B, T, 3 D)
        qkv = qkv.reshape(B, T, 3, self.n_heads, C)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # each (B, H, T, C)
        logits = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(C))  # (B, H, T, T)
        logits = logits + self.weights[f"{name}age.weight"][ages].transpose(0, 3, 1, 2)
        logits[..., ~np.tri(T, dtype=bool)] = -1e9
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        attended = powers / powers.sum(-1, keepdims=True) @ v  # (B, H, T, C)
        attended = attended.swapaxes(1, 2).reshape(B, T, D)
        x = x + linear(self.weights, f"{name}out", attended)
        normed = layer_norm(self.weights, f"{name}norm_2", x)
        hidden = gelu(linear(self.weights, f"{name}up", normed))  # (B, T, 2 D)
        return np.asarray(x + linear(self.weights, f"{name}down", hidden), np.float32)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.safetensors`."""
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
        """Read what `save` wrote."""
        meta, weights = read_meta(folder, KIND), read_tensors(folder / "weights.safetensors")
        popularity = weights.pop("popularity")
        item_ids = np.array(meta["item_ids"], object)
        return cls(
            item_ids, weights, popularity, n_heads=meta["n_heads"], max_steps=meta["max_steps"]
        )


def fit_sequence(
    sequences: Sequences, config: SequenceConfig, run: NetworkTraining
) -> SequenceModel:
    """Fit on the steps before `run.now`.

    Raises BadInput when there is no visitor, or `width` is no multiple of `n_heads`.
    """
    # Here, because a server predicts without torch.
    from models.retrieval.sequence_network import SequenceNetwork
    from models.retrieval.training_loop import copy_weights, train_network

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
    item_ids = select_items(sequences, config.loop)
    steps = Steps.from_sequences(sequences, item_ids)

    def build_network() -> SequenceNetwork:
        return SequenceNetwork(
            len(item_ids), config.width, config.n_layers, config.n_heads, config.dropout
        )

    network = train_network(build_network, steps, len(item_ids), config.loop, run)
    return SequenceModel(
        item_ids,
        copy_weights(network),
        compute_popularity(steps, len(item_ids), run.now, 1)[0],
        n_heads=config.n_heads,
        max_steps=config.loop.max_steps,
    )
