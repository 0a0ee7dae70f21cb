"""Several processes that train one network, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn


@contextmanager
def join_processes() -> Iterator[int]:
    """Join the other processes when torchrun started this one; yield the rank, 0 for a single
    process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield 0
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


class ProcessGroup:
    """The processes that were joined, or this one alone."""

    def __init__(self, device: str) -> None:
        joined = distributed.is_initialized()
        self.rank = distributed.get_rank() if joined else 0
        self.n_processes = distributed.get_world_size() if joined else 1
        self._device = device

    def sum(self, value: float) -> float:
        """Return the sum of the processes' values."""
        if self.n_processes == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor)
        return float(tensor)

    def broadcast(self, value: float) -> float:
        """Return the value of process 0."""
        if self.n_processes == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.broadcast(tensor, 0)
        return float(tensor)

    def sum_gradients(self, network: nn.Module) -> None:
        """Sum the gradients of every parameter over the processes, in place."""
        for parameter in network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if self.n_processes > 1:
                distributed.all_reduce(parameter.grad)
