"""The sequence model's network, in torch; `sequence.py` predicts with the same arithmetic in numpy.

B  visitors in the batch    T  steps    L  lines (item × step)    N  items with a vector
D  width of a vector        H  heads    C  width of a head, D / H
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.contracts.sequences import N_KINDS
from models.retrieval.steps import N_GAPS
from models.retrieval.training_loop import Network, TensorBatch


class Block(nn.Module):
    """Causal attention with a bias by age, then two linear layers; each with a norm before it and a
    residual connection."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.age = nn.Embedding(N_GAPS, n_heads)
        self.dropout = nn.Dropout(dropout)
        for weight in (self.age.weight, self.out.weight, self.down.weight):
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, ages: Tensor, causal: Tensor) -> Tensor:
        """Return (B, T, D) of `x` (B, T, D), `ages` (B, T, T) buckets and `causal` (T, T)."""
        B, T, D = x.shape
        C = D // self.n_heads
        qkv = self.qkv(self.norm_1(x)).view(B, T, 3, self.n_heads, C)  # (B, T, 3, H, C)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, C)
        weights = q @ k.transpose(-1, -2) / math.sqrt(C)  # (B, H, T, T)
        weights = weights + self.age(ages).permute(0, 3, 1, 2)  # (B, H, T, T)
        weights = self.dropout(weights.masked_fill(~causal, -1e9).softmax(-1))  # (B, H, T, T)
        attended = (weights @ v).transpose(1, 2).reshape(B, T, D)
        x = x + self.dropout(self.out(attended))  # (B, T, D)
        hidden = functional.gelu(self.up(self.norm_2(x)))  # (B, T, 2 D)
        residual: Tensor = self.dropout(self.down(hidden))  # (B, T, D)
        return x + residual


class SequenceNetwork(Network):
    """The same item vectors are the input of a step and the output that is predicted."""

    def __init__(
        self, n_items: int, width: int, n_layers: int, n_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.items, self.bias = nn.Embedding(n_items, width), nn.Parameter(torch.zeros(n_items))
        self.kind, self.gap = nn.Embedding(N_KINDS, width), nn.Embedding(N_GAPS, width)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, n_heads, dropout) for _ in range(n_layers))
        self.popular = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.items.weight, std=0.1)
        nn.init.normal_(self.kind.weight, std=0.02)
        nn.init.normal_(self.gap.weight, std=0.02)

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """Return (N, D) and (N,)."""
        return self.items.weight, self.bias

    def states(self, batch: TensorBatch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T, D) and (B, T)."""
        B, T = batch.kind.shape
        x = functional.embedding_bag(
            batch.items, vectors, batch.offsets, mode="sum", include_last_offset=True
        )  # (B T, D)
        sizes = (batch.offsets[1:] - batch.offsets[:-1]).clamp(min=1)  # (B T,)
        x = (x / sizes.sqrt()[:, None]).view(B, T, -1)  # (B, T, D)
        x = self.dropout(self.norm_in(x + self.kind(batch.kind) + self.gap(batch.gap)))
        age = (batch.hours[:, :, None] - batch.hours[:, None, :]).clamp(min=0.5)  # (B, T, T)
        ages = (age.log2().floor().long() + 2).clamp(1, N_GAPS - 1)  # (B, T, T)
        causal = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()  # (T, T)
        for block in self.blocks:
            x = block(x, ages, causal)  # (B, T, D)
        x = self.norm_out(x)
        return x, self.popular(x).squeeze(-1)
