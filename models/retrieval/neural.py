"""The training loop that the networks share: sampled softmax, early stopping, checkpoints, one
process or several.

    B  visitors in the batch    T  steps    N  items with a vector    D  width of a vector
    U  states that foretell something    P  pairs (state, item to foretell)    K  negatives, shared
       by the batch

The softmax is over the items that could come next. Its denominator is estimated from K items
sampled by popularity, each weighed by how likely it was to be sampled (logQ: Bengio and Senecal,
IEEE TNN 2008), and what comes true or is already known is no negative. One negative and a binary
loss, SASRec's own, lag far behind (Klenitskiy and Vasilev, "Turning Dross Into Gold Loss", RecSys
2023).

Under torchrun each process takes its share of every mini-batch and gradients are summed, so that N
processes train what one would; process 0 writes. Every epoch draws from streams of its own, so that
a training that was killed goes on from its last whole epoch to the weights it would have had.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn import functional

from features.contracts.arrays import Int64Array
from features.contracts.seeds import generator
from models.retrieval.examples import Examples, Pairs, Piece, pieces_of
from models.retrieval.steps import (
    SECONDS_PER_WEEK,
    Batch,
    LoopConfig,
    Steps,
    batch_of,
    latest,
    popularity,
)

_WARM_UP = 20  # mini-batches
_VALIDATION_ROWS = 256
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TensorBatch:
    """A `Batch` on the network's device."""

    items: Tensor
    offsets: Tensor
    kind: Tensor
    gap: Tensor
    hours: Tensor
    valid: Tensor

    @classmethod
    def of(cls, batch: Batch, device: str) -> TensorBatch:
        """Copies nothing on a CPU."""
        return cls(
            **{name: torch.from_numpy(value).to(device) for name, value in vars(batch).items()}
        )


class Network(nn.Module, ABC):
    """What the loop needs of a network; `popular` says how much a state cares for what sells just
    now."""

    @abstractmethod
    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors (N, D) and biases (N,) of the items."""

    @abstractmethod
    def states(self, batch: TensorBatch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, D) after each step, and the weight of popularity in each (B, T)."""


def train_network(
    build: Callable[[], Network],
    steps: Steps,
    n_items: int,
    now: int,
    config: LoopConfig,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress = lambda _: None,
) -> Network:
    """A trained network in evaluation mode, on the CPU.

    `build` makes it with its first weights, from torch's global stream. `folder` keeps the
    checkpoint, one file that is replaced after every epoch: a training of the same data,
    configuration and seed goes on from it.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(config.n_threads)
    try:
        with torch.random.fork_rng():
            n_epochs = config.n_epochs
            since = now - config.validation_weeks * SECONDS_PER_WEEK
            known = steps.before(since)
            if config.validation_weeks and len(known.at) and len(known.at) < len(steps.at):
                search = _Loop(
                    "search", build, known, n_items, since, config, seed, folder, progress
                )
                n_epochs = search.run(
                    config.n_epochs, _Validation(steps, known, now, n_items, config)
                )
            final = _Loop("final", build, steps, n_items, now, config, seed, folder, progress)
            final.run(n_epochs, None)
    finally:
        torch.set_num_threads(n_threads)
    return final.network.cpu().eval()


class _Validation:
    """How well the state at the start of the last weeks foretells them: a full softmax, nothing
    sampled."""

    def __init__(
        self, steps: Steps, known: Steps, now: int, n_items: int, config: LoopConfig
    ) -> None:
        self._known, self._n_items, self._new = known, n_items, config.targets == "new"
        self._popularity = popularity(
            known, n_items, now - config.validation_weeks * SECONDS_PER_WEEK, 1
        )
        self._pieces: list[Piece] = []
        self._wanted: list[tuple[Int64Array, Int64Array]] = []
        for visitor, piece in enumerate(latest(known, config.max_steps)):
            n_known = int(known.starts[visitor + 1] - known.starts[visitor])
            first = int(steps.starts[visitor])
            met, _ = steps.lines(first, first + n_known)
            items, _ = steps.lines(first + n_known, int(steps.starts[visitor + 1]))
            items = np.setdiff1d(items, met) if self._new else np.unique(items)
            if n_known and len(items):
                self._pieces.append(piece)
                self._wanted.append((items, np.unique(met) if self._new else met[:0]))

    def loss(self, network: Network, device: str) -> float:
        """Mean over visitors of the mean surprise at what came."""
        losses = []
        network.eval()
        with torch.no_grad():
            vectors, bias = network.item_vectors()
            popular = torch.from_numpy(self._popularity).to(device)
            for at in range(0, len(self._pieces), _VALIDATION_ROWS):
                pieces = self._pieces[at : at + _VALIDATION_ROWS]
                states, weight = network.states(
                    TensorBatch.of(batch_of(self._known, pieces), device), vectors
                )
                rows, last = (
                    torch.arange(len(pieces)),
                    torch.tensor([end - first - 1 for first, end in pieces]),
                )
                logits = (
                    states[rows, last] @ vectors.T + bias + weight[rows, last][:, None] * popular
                )  # (B, N)
                for row, (items, left_out) in zip(logits, self._wanted[at:], strict=False):
                    row[left_out] = -torch.inf
                    losses.append(float(row.logsumexp(0) - row[items].mean()))
        network.train()
        return float(np.mean(losses)) if losses else 0.0


class _Loop:
    """One training of one network on steps before `now`."""

    def __init__(
        self,
        phase: str,
        build: Callable[[], Network],
        steps: Steps,
        n_items: int,
        now: int,
        config: LoopConfig,
        seed: int,
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self._phase, self._config, self._seed, self._progress = phase, config, seed, progress
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._rank, self._world = (
            (distributed.get_rank(), distributed.get_world_size())
            if distributed.is_initialized()
            else (0, 1)
        )
        self._examples = Examples.of(steps, config.targets)
        torch.manual_seed(_number(seed, "first weights"))
        self.network = build().to(self._device).train()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        n_weeks = 1 + int((now - steps.at.min(initial=now)) // SECONDS_PER_WEEK)
        self._popularity = torch.from_numpy(popularity(steps, n_items, now, n_weeks + 1)).to(
            self._device
        )
        # A window of popularity ends at or before the step that it helps to foretell.
        self._week = -((steps.at - now) // SECONDS_PER_WEEK)
        counts = np.bincount(steps.items[self._examples.wanted], minlength=n_items) + 1.0
        self._shares = counts**0.75 / (counts**0.75).sum()
        log_expected = np.log(self._shares * config.n_negatives).astype(np.float32)
        self._log_expected = torch.from_numpy(log_expected).to(self._device)
        self._n_batches = 0
        self._losses: list[float] = []
        self._key = _key(phase, steps, now, config, seed, self.network)
        self._path = None if folder is None else folder / f"{phase}.safetensors"

    def run(self, n_epochs: int, validation: _Validation | None) -> int:
        """Trains up to `n_epochs`; with a validation stops early and says how many epochs were
        best."""
        self._resume()
        while len(self._losses) < n_epochs and not self._stalled(validation):
            epoch = len(self._losses)
            loss = self._epoch(epoch)
            if validation is not None:
                loss = self._agreed(validation.loss(self.network, self._device))
            self._losses.append(loss)
            self._keep()
            self._progress(f"{self._phase}: epoch {epoch + 1} of {n_epochs}, loss {loss:.4f}")
        return int(np.argmin(self._losses)) + 1

    def _stalled(self, validation: _Validation | None) -> bool:
        since_best = len(self._losses) - 1 - int(np.argmin(self._losses)) if self._losses else 0
        return validation is not None and since_best >= self._config.patience

    def _epoch(self, epoch: int) -> float:
        config = self._config
        rng = generator(self._seed, f"{self._phase} epoch {epoch}")
        torch.manual_seed(_number(self._seed, f"{self._phase} epoch {epoch} process {self._rank}"))
        pieces = pieces_of(self._examples.steps, config.max_steps, rng)
        total = 0.0
        starts = range(0, len(pieces), config.batch_visitors)
        n_all = max(1, config.n_epochs * len(starts))
        for at in starts:
            negatives = rng.choice(len(self._shares), config.n_negatives, p=self._shares)
            mine = pieces[at : at + config.batch_visitors][self._rank :: self._world]
            loss, n_pairs = self._loss(mine, negatives)
            n_pairs = max(1.0, self._summed(n_pairs))
            self._optimizer.zero_grad(set_to_none=False)
            if loss.requires_grad:
                (loss / n_pairs).backward()  # type: ignore[no-untyped-call]
            self._sum_gradients()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._n_batches += 1
            pace = min(1.0, self._n_batches / _WARM_UP) * max(0.05, 1 - self._n_batches / n_all)
            for group in self._optimizer.param_groups:
                group["lr"] = config.learning_rate * pace
            self._optimizer.step()
            total += float(loss.detach()) / n_pairs
        return self._summed(total) / max(1, len(starts))

    def _loss(self, pieces: list[Piece], negatives: Int64Array) -> tuple[Tensor, float]:
        """Summed loss of the pairs of `pieces`, and their number."""
        inputs = batch_of(self._examples.steps, [(first, last - 1) for first, last in pieces])
        n_steps = inputs.kind.shape[1]
        if not pieces:
            return torch.zeros(()), 0.0
        pairs = Pairs.of(self._examples, pieces, n_steps)
        vectors, bias = self.network.item_vectors()  # (N, D), (N,)
        states, weight = self.network.states(
            TensorBatch.of(inputs, self._device), vectors
        )  # (B, T, D), (B, T)
        state, row, step, pair, item, sampled = (
            torch.from_numpy(each).to(self._device)
            for each in (pairs.state, pairs.row, pairs.step, pairs.pair, pairs.item, negatives)
        )
        states, weight = (
            states.flatten(0, 1).index_select(0, state),
            weight.flatten().index_select(0, state),
        )  # (U, D), (U,)
        week = torch.from_numpy(self._week[pairs.step]).to(self._device)  # (U,)
        popular = self._popularity[:, sampled][week]  # (U, K)
        logits = (
            states @ functional.embedding(sampled, vectors).T
            + bias.index_select(0, sampled)
            + weight[:, None] * popular
        )  # (U, K)
        met = self._examples.met_by(pieces, negatives, len(self._shares))
        if self._config.targets == "new":
            hidden = torch.from_numpy(met).to(self._device)[row] <= step[:, None]  # (U, K)
        else:
            hidden = torch.zeros_like(logits, dtype=torch.bool)
            at, column = np.nonzero(pairs.item[:, None] == negatives[None, :])
            hidden[torch.from_numpy(pairs.pair[at]), torch.from_numpy(column)] = True
        logits = (logits - self._log_expected[sampled]).masked_fill(hidden, -1e9)
        others = logits.logsumexp(1).index_select(0, pair)  # (P,)
        true = (states.index_select(0, pair) * functional.embedding(item, vectors)).sum(
            1
        ) + bias.index_select(0, item)  # (P,)
        true = true + weight.index_select(0, pair) * self._popularity[week[pair], item]
        return (torch.logaddexp(true, others) - true).sum(), float(len(item))

    def _sum_gradients(self) -> None:
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if self._world > 1:
                distributed.all_reduce(parameter.grad)

    def _summed(self, value: float) -> float:
        if self._world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor)
        return float(tensor)

    def _agreed(self, value: float) -> float:
        if self._world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.broadcast(tensor, 0)
        return float(tensor)

    def _keep(self) -> None:
        if self._path is None or self._rank:
            return
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for place, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value for name, value in state.items()}
        told = {
            "key": self._key,
            "losses": json.dumps(self._losses),
            "n_batches": str(self._n_batches),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".partial")
        save_file(
            {name: value.cpu().contiguous() for name, value in tensors.items()},
            beside,
            metadata=told,
        )
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(self._path)

    def _resume(self) -> None:
        """Goes on where the checkpoint of this very training stopped; every process reads it."""
        if self._path is None or not self._path.exists():
            return
        with safe_open(self._path, "pt", device=self._device) as stored:
            told = stored.metadata() or {}
            if told.get("key") != self._key:
                return
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        self._losses, self._n_batches = json.loads(told["losses"]), int(told["n_batches"])
        network = {name: value for name, value in tensors.items() if name.startswith("network.")}
        self.network.load_state_dict(
            {name.removeprefix("network."): value for name, value in network.items()}
        )
        states: dict[int, dict[str, Tensor]] = {}
        for name in tensors.keys() - network.keys():
            _, place, field = name.split(".")
            states.setdefault(int(place), {})[field] = tensors[name]
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": states})
        self._progress(f"{self._phase}: going on after epoch {len(self._losses)}")


@contextmanager
def processes() -> Iterator[int]:
    """Joins the other processes when torchrun started this one; yields the rank, 0 where there is
    one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield 0
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def weights_of(network: Network) -> dict[str, np.ndarray]:
    """The weights as numpy, by name."""
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def _number(seed: int, purpose: str) -> int:
    return int(generator(seed, purpose).integers(0, 2**63 - 1))


def _key(
    phase: str, steps: Steps, now: int, config: LoopConfig, seed: int, network: Network
) -> str:
    """What makes two trainings the same: data, configuration, seed, shape of the network, and the
    build of torch."""
    digest = hashlib.sha256()
    for array in vars(steps).values():
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(
        repr(
            (phase, now, sorted(asdict(config).items()), seed, torch.__version__, network)
        ).encode()
    )
    return digest.hexdigest()
