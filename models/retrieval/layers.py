"""Layers of the networks in numpy, for fitted models: the same results as torch's, without torch.

Weights are named as in the network: "up.weight" and "up.bias" are those of the layer "up".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import erf

from features.contracts.arrays import AnyArray, Float32Array

_EPSILON = np.float32(1e-5)  # torch's own in LayerNorm

Weights = Mapping[str, AnyArray]


def linear(weights: Weights, name: str, x: AnyArray) -> Float32Array:
    """Apply a dense layer to the last axis."""
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"], np.float32)


def layer_norm(weights: Weights, name: str, x: AnyArray) -> Float32Array:
    """Apply layer normalisation to the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + _EPSILON)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"], np.float32)


def gelu(x: AnyArray) -> Float32Array:
    """Return x times the normal distribution function at x.

    >>> [round(float(value), 4) for value in gelu(np.array([-1.0, 0.0, 1.0]))]
    [-0.1587, 0.0, 0.8413]
    """
    return np.asarray(x * np.float32(0.5) * (1 + erf(x / np.float32(np.sqrt(2)))), np.float32)
