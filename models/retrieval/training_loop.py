"""The training loop of both networks: sampled softmax, early stopping, one process or several.

    B  segments in the batch    T  steps    N  items with a vector    D  width of a vector
    U  states that predict something    P  pairs (state, item to predict)
    K  negatives, shared by the batch

The softmax is over the items that could come next. Its denominator is estimated from K items
sampled by popularity, each weighted by how likely it was to be sampled (logQ: Bengio and Senecal,
IEEE TNN 2008); items that come next or that the visitor has met are no negatives. One negative and
a binary loss, as in SASRec, perform far worse (Klenitskiy and Vasilev, "Turning Dross Into Gold
Loss", RecSys 2023).

Under torchrun each process takes its share of every mini-batch and gradients are summed, so that n
processes train what one would; process 0 writes. Every epoch draws from random streams of its own,
so that a training that was killed continues from its last whole epoch to the weights that it would
have had.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.contracts.arrays import AnyArray, Int64Array
from features.contracts.seeds import generator
from models.retrieval.checkpoints import Checkpoint, compute_key
from models.retrieval.examples import Examples, Pairs, cut_segments
from models.retrieval.process_group import ProcessGroup
from models.retrieval.steps import (
    SECONDS_PER_WEEK,
    Batch,
    LoopConfig,
    NetworkTraining,
    Segment,
    Steps,
    compute_popularity,
    make_batch,
    select_latest,
)

_WARM_UP = 20  # mini-batches
_VALIDATION_ROWS = 256


@dataclass(frozen=True)
class TensorBatch:
    """A `Batch` on the network's device."""

    items: Tensor  # (L,)
    offsets: Tensor  # (B * T + 1,)
    kind: Tensor  # (B, T)
    gap: Tensor  # (B, T)
    hours: Tensor  # (B, T)
    valid: Tensor  # (B, T)

    @classmethod
    def from_batch(cls, batch: Batch, device: str) -> TensorBatch:
        """Copy the arrays to `device`; on a CPU the memory is shared."""
        return cls(
            **{name: torch.from_numpy(value).to(device) for name, value in vars(batch).items()}
        )


class Network(nn.Module, ABC):
    """What the loop needs of a network."""

    @abstractmethod
    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """Return vectors (N, D) and biases (N,) of the items."""

    @abstractmethod
    def states(self, batch: TensorBatch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (B, T, D) after each step, and how much recent popularity counts in
        each (B, T)."""


def train_network(
    build: Callable[[], Network],
    steps: Steps,
    n_items: int,
    config: LoopConfig,
    run: NetworkTraining,
) -> Network:
    """Return a trained network in evaluation mode, on the CPU.

    `build` makes it with its first weights, from torch's global random stream. The checkpoint of
    `run` is one file that is replaced after every epoch: a training on the same data with the same
    configuration and seed continues from it.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(config.n_threads)
    try:
        with torch.random.fork_rng():
            n_epochs = config.n_epochs
            since = run.now - config.validation_weeks * SECONDS_PER_WEEK
            known = steps.select_before(since)
            if config.validation_weeks and len(known.at) and len(known.at) < len(steps.at):
                search = _Loop("search", build, known, n_items, config, replace(run, now=since))
                validation = _Validation(steps, known, since, n_items, config)
                n_epochs = search.train(config.n_epochs, validation)
            final = _Loop("final", build, steps, n_items, config, run)
            final.train(n_epochs, None)
    finally:
        torch.set_num_threads(n_threads)
    return final.network.cpu().eval()


def copy_weights(network: Network) -> dict[str, AnyArray]:
    """Return the weights as numpy arrays, by name."""
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


class _Validation:
    """How well the states at the start of the last weeks predict what visitors met in them: a full
    softmax, without sampling."""

    def __init__(
        self, steps: Steps, known: Steps, since: int, n_items: int, config: LoopConfig
    ) -> None:
        only_new = config.targets == "new"
        self._known = known
        self._popularity = compute_popularity(known, n_items, since, 1)
        self._segments: list[Segment] = []
        self._targets: list[tuple[Int64Array, Int64Array]] = []  # items to predict, and excluded
        for visitor, segment in enumerate(select_latest(known, config.max_steps)):
            n_known = int(known.starts[visitor + 1] - known.starts[visitor])
            first = int(steps.starts[visitor])
            met, _ = steps.list_lines(first, first + n_known)
            items, _ = steps.list_lines(first + n_known, int(steps.starts[visitor + 1]))
            items = np.setdiff1d(items, met) if only_new else np.unique(items)
            if n_known and len(items):
                self._segments.append(segment)
                self._targets.append((items, np.unique(met) if only_new else met[:0]))

    def compute_loss(self, network: Network, device: str) -> float:
        """Return the mean over visitors of the mean negative log probability of their items."""
        losses = []
        network.eval()
        with torch.no_grad():
            vectors, bias = network.item_vectors()  # (N, D), (N,)
            popularity = torch.from_numpy(self._popularity).to(device)  # (1, N)
            for start in range(0, len(self._segments), _VALIDATION_ROWS):
                segments = self._segments[start : start + _VALIDATION_ROWS]
                batch = TensorBatch.from_batch(make_batch(self._known, segments), device)
                states, weight = network.states(batch, vectors)  # (B, T, D), (B, T)
                rows = torch.arange(len(segments))
                last = torch.tensor([end - first - 1 for first, end in segments])
                weighted = weight[rows, last][:, None] * popularity  # (B, N)
                logits = states[rows, last] @ vectors.T + bias + weighted  # (B, N)
                for row, (items, excluded) in zip(logits, self._targets[start:], strict=False):
                    row[excluded] = -torch.inf
                    losses.append(float(row.logsumexp(0) - row[items].mean()))
        network.train()
        return float(np.mean(losses)) if losses else 0.0


class _Loop:
    """One training of one network on the steps before `run.now`."""

    def __init__(
        self,
        phase: str,
        build: Callable[[], Network],
        steps: Steps,
        n_items: int,
        config: LoopConfig,
        run: NetworkTraining,
    ) -> None:
        self._phase, self._config, self._run = phase, config, run
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._group = ProcessGroup(self._device)
        self._examples = Examples.from_steps(steps, config.targets)
        torch.manual_seed(_draw_seed(run.seed, "first weights"))
        self.network = build().to(self._device).train()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        n_weeks = 1 + int((run.now - steps.at.min(initial=run.now)) // SECONDS_PER_WEEK)
        popularity = compute_popularity(steps, n_items, run.now, n_weeks + 1)
        self._popularity = torch.from_numpy(popularity).to(self._device)  # (weeks, N)
        # A window of popularity ends at or before the step that it helps to predict.
        self._week = -((steps.at - run.now) // SECONDS_PER_WEEK)
        counts = np.bincount(steps.items[self._examples.is_target], minlength=n_items) + 1.0
        self._sampling_shares = counts**0.75 / (counts**0.75).sum()
        log_expected = np.log(self._sampling_shares * config.n_negatives).astype(np.float32)
        self._log_expected = torch.from_numpy(log_expected).to(self._device)  # (N,)
        self._n_batches = 0
        self._losses: list[float] = []
        self._checkpoint = Checkpoint(
            None if run.folder is None else run.folder / f"{phase}.safetensors",
            compute_key(phase, steps, config, run, self.network),
        )

    def train(self, n_epochs: int, validation: _Validation | None) -> int:
        """Train up to `n_epochs`, or with a validation until it no longer improves; return the best
        number of epochs."""
        self._resume()
        while len(self._losses) < n_epochs and not self._has_stalled(validation):
            epoch = len(self._losses)
            loss = self._train_epoch(epoch)
            if validation is not None:
                loss = self._group.broadcast(validation.compute_loss(self.network, self._device))
            self._losses.append(loss)
            if not self._group.rank:
                self._checkpoint.save(self.network, self._optimizer, self._losses, self._n_batches)
            self._run.progress(f"{self._phase}: epoch {epoch + 1} of {n_epochs}, loss {loss:.4f}")
        return int(np.argmin(self._losses)) + 1

    def _resume(self) -> None:
        """Continue where the checkpoint of this very training ended; every process reads it."""
        progress = self._checkpoint.load(self.network, self._optimizer, self._device)
        if progress is not None:
            self._losses, self._n_batches = progress
            self._run.progress(f"{self._phase}: continuing after epoch {len(self._losses)}")

    def _has_stalled(self, validation: _Validation | None) -> bool:
        since_best = len(self._losses) - 1 - int(np.argmin(self._losses)) if self._losses else 0
        return validation is not None and since_best >= self._config.patience

    def _train_epoch(self, epoch: int) -> float:
        """Return the mean loss of a pair."""
        config, group, seed = self._config, self._group, self._run.seed
        rng = generator(seed, f"{self._phase} epoch {epoch}")
        torch.manual_seed(_draw_seed(seed, f"{self._phase} epoch {epoch} process {group.rank}"))
        segments = cut_segments(self._examples.steps, config.max_steps, rng)
        total = 0.0
        starts = range(0, len(segments), config.batch_visitors)
        n_all = max(1, config.n_epochs * len(starts))
        for start in starts:
            n_sampled = len(self._sampling_shares)
            negatives = rng.choice(n_sampled, config.n_negatives, p=self._sampling_shares)
            own = segments[start : start + config.batch_visitors][group.rank :: group.n_processes]
            loss, n_pairs = self._sum_losses(own, negatives)
            n_pairs = max(1.0, group.sum(n_pairs))
            self._optimizer.zero_grad(set_to_none=False)
            if loss.requires_grad:
                (loss / n_pairs).backward()  # type: ignore[no-untyped-call]
            group.sum_gradients(self.network)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._n_batches += 1
            pace = min(1.0, self._n_batches / _WARM_UP) * max(0.05, 1 - self._n_batches / n_all)
            for parameters in self._optimizer.param_groups:
                parameters["lr"] = config.learning_rate * pace
            self._optimizer.step()
            total += float(loss.detach()) / n_pairs
        return group.sum(total) / max(1, len(starts))

    def _sum_losses(self, segments: list[Segment], negatives: Int64Array) -> tuple[Tensor, float]:
        """Return the sum of the losses of the pairs of `segments`, and how many pairs there are."""
        inputs = make_batch(
            self._examples.steps, [(first, end - 1) for first, end in segments]
        )  # the last step of each is only predicted
        if not segments:
            return torch.zeros(()), 0.0
        pairs = Pairs.from_segments(self._examples, segments, inputs.kind.shape[1])
        vectors, bias = self.network.item_vectors()  # (N, D), (N,)
        batch = TensorBatch.from_batch(inputs, self._device)
        states, weight = self.network.states(batch, vectors)  # (B, T, D), (B, T)
        state, pair, item, sampled = (
            torch.from_numpy(index).to(self._device)
            for index in (pairs.state, pairs.pair, pairs.item, negatives)
        )  # (U,), (P,), (P,), (K,)
        states = states.flatten(0, 1).index_select(0, state)  # (U, D)
        weight = weight.flatten().index_select(0, state)  # (U,)
        week = torch.from_numpy(self._week[pairs.step]).to(self._device)  # (U,)
        popularity = self._popularity[:, sampled][week]  # (U, K)
        logits = (
            states @ functional.embedding(sampled, vectors).T
            + bias.index_select(0, sampled)
            + weight[:, None] * popularity
        )  # (U, K)
        is_excluded = self._find_excluded(segments, pairs, negatives)  # (U, K)
        logits = (logits - self._log_expected[sampled]).masked_fill(is_excluded, -1e9)
        others = logits.logsumexp(1).index_select(0, pair)  # (P,)
        products = states.index_select(0, pair) * functional.embedding(item, vectors)  # (P, D)
        true = products.sum(1) + bias.index_select(0, item)  # (P,)
        true = true + weight.index_select(0, pair) * self._popularity[week[pair], item]  # (P,)
        return (torch.logaddexp(true, others) - true).sum(), float(len(pairs.item))

    def _find_excluded(
        self, segments: list[Segment], pairs: Pairs, negatives: Int64Array
    ) -> Tensor:
        """Return which samples are no negatives of which state (U, K)."""
        if self._config.targets == "new":
            n_items = len(self._sampling_shares)
            met = self._examples.find_first_meetings(segments, negatives, n_items)  # (B, K)
            row, step = torch.from_numpy(pairs.row), torch.from_numpy(pairs.step)  # (U,), (U,)
            is_met = torch.from_numpy(met)[row] <= step[:, None]
            return is_met.to(self._device)
        is_excluded = torch.zeros((len(pairs.state), len(negatives)), dtype=torch.bool)
        row_of_pair, column = np.nonzero(pairs.item[:, None] == negatives[None, :])
        is_excluded[torch.from_numpy(pairs.pair[row_of_pair]), torch.from_numpy(column)] = True
        return is_excluded.to(self._device)


def _draw_seed(seed: int, purpose: str) -> int:
    return int(generator(seed, purpose).integers(0, 2**63 - 1))
