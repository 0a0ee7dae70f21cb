"""Checkpoints of a training: weights and optimizer state after an epoch, in a safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.retrieval.steps import LoopConfig, NetworkTraining, Steps

_NETWORK, _OPTIMIZER = "network.", "optimizer."


class Checkpoint:
    """The file of one training; `key` tells the training apart from others. No file without a
    path."""

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: list[float],
        n_batches: int,
    ) -> None:
        """Replace the file in one step."""
        if self._path is None:
            return
        tensors = {f"{_NETWORK}{name}": value for name, value in network.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in state.items()}
        metadata = {"key": self._key, "losses": json.dumps(losses), "n_batches": str(n_batches)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        contiguous = {name: value.cpu().contiguous() for name, value in tensors.items()}
        save_file(contiguous, partial, metadata=metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(self._path)

    def load(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, device: str
    ) -> tuple[list[float], int] | None:
        """Restore network and optimizer; return the losses of the epochs and the number of batches.

        None where there is no checkpoint of this training.
        """
        if self._path is None or not self._path.exists():
            return None
        with safe_open(self._path, "pt", device=device) as stored:
            metadata = stored.metadata() or {}
            if metadata.get("key") != self._key:
                return None
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        weights = {name: value for name, value in tensors.items() if name.startswith(_NETWORK)}
        network.load_state_dict(
            {name.removeprefix(_NETWORK): value for name, value in weights.items()}
        )
        states: dict[int, dict[str, Tensor]] = {}
        for name in tensors.keys() - weights.keys():
            _, index, field = name.split(".")
            states.setdefault(int(index), {})[field] = tensors[name]
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        return json.loads(metadata["losses"]), int(metadata["n_batches"])


def compute_key(
    phase: str, steps: Steps, config: LoopConfig, run: NetworkTraining, network: nn.Module
) -> str:
    """Return a digest of what makes two trainings the same: data, configuration, seed, shape of the
    network, and the version of torch."""
    digest = hashlib.sha256()
    for array in vars(steps).values():
        digest.update(np.ascontiguousarray(array).tobytes())
    settings = sorted(asdict(config).items())
    digest.update(repr((phase, run.now, settings, run.seed, torch.__version__, network)).encode())
    return digest.hexdigest()
