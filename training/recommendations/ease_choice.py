"""How EASE counts orders and how strong its penalty is, chosen on the windows before a cut.

Where people buy a few hundred items often, how often somebody bought an item says much about what
they buy for the first time; in a large catalogue it says little. The settings of the configuration
stay unless others rank measurably better on the windows that the rankers learn from. The baseline
of each task is chosen in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.seeds import generator
from models.compiled.top_items import top_positions
from models.ranking.model import TASKS, RankingTask
from models.retrieval.ease import EaseConfig, fit_ease_penalties
from models.retrieval.interactions import WEIGHTINGS, Interactions, Weighting, find_positions
from training.recommendations.baseline_config import BaselinesConfig, EaseBaselineConfig
from training.recommendations.config import RecommendationsConfig
from training.recommendations.metrics import ndcgs
from training.recommendations.snapshots import TrainingContext, find_relevant_items
from training.significance import compute_paired_p_value
from training.splits import Window, windows

# The penalties that are tried, as shares of that of the configuration.
_L2_SHARES = (0.1, 0.3, 1.0, 3.0)
# The most bought items that settings are compared on: the time of a fit grows with their cube. In
# the demo data 1,000, 2,000 and 4,000 items agree on which settings are best.
_N_ITEMS = 1_000
_MAX_USERS = 2_000  # of each window, drawn by the seed
_SIGNIFICANCE_LEVEL = 0.05
_K = 10

Config = TypeVar("Config", bound=EaseConfig)


class EaseSettings(NamedTuple):
    """What is chosen of an EaseConfig."""

    weighting: Weighting
    l2: float

    @classmethod
    def of(cls, config: EaseConfig) -> EaseSettings:
        """Return those of a configuration."""
        return cls(config.weighting, config.l2)

    def __str__(self) -> str:
        return f"{self.weighting}, l2 {self.l2:g}"


@dataclass(frozen=True)
class EaseChoice:
    """NDCG at 10 of every setting that was tried, by task and user of the windows before `cut`."""

    cut: datetime
    values: Mapping[RankingTask, Mapping[EaseSettings, Float64Array]]

    def find_best(self, task: RankingTask, given: EaseSettings) -> EaseSettings:
        """Return the best where it is measurably better than `given` (paired test), else `given`.

        The level of the test is not corrected for the number of settings: in shops of few people
        that keeps settings that are clearly weaker.
        """
        by_settings = self.values[task]
        best = max([given, *by_settings], key=lambda settings: self._mean(task, settings))
        p_value = compute_paired_p_value(by_settings[best], by_settings[given])
        return best if p_value < _SIGNIFICANCE_LEVEL else given

    def apply(self, config: RecommendationsConfig) -> RecommendationsConfig:
        """Return the configuration with the settings that were chosen.

        The source serves both tasks and is chosen by new items: items bought before have columns of
        their own.
        """
        baselines = config.baselines
        return replace(
            config,
            ease=_change(config.ease, self.find_best("new", EaseSettings.of(config.ease))),
            baselines=BaselinesConfig(
                all=replace(baselines.all, ease=self._choose_baseline("all", baselines)),
                new=replace(baselines.new, ease=self._choose_baseline("new", baselines)),
            ),
        )

    def describe(self, given: EaseConfig) -> dict[str, str]:
        """Return what was chosen for the source in place of `given`, and why."""
        before = EaseSettings.of(given)
        best = self.find_best("new", before)
        n_users = len(self.values["new"][before])
        on_windows = f"new items of {n_users:,} users in the windows before {self.cut:%Y-%m-%d}"
        if best == before:
            why = f"none of {len(self.values['new'])} settings is measurably better on {on_windows}"
        else:
            new, old = (self._mean("new", settings) for settings in (best, before))
            why = f"NDCG@{_K} {new:.4f} against {old:.4f} of {before} on {on_windows}"
        return {"ease": str(best), "ease_why": why}

    def _choose_baseline(self, task: RankingTask, baselines: BaselinesConfig) -> EaseBaselineConfig:
        given = baselines.of(task).ease
        return _change(given, self.find_best(task, EaseSettings.of(given)))

    def _mean(self, task: RankingTask, settings: EaseSettings) -> float:
        values = self.values[task][settings]
        return float(values.mean()) if len(values) else 0.0


class ChosenEase(NamedTuple):
    """A context with the configuration that was chosen, and what was chosen and why, by name."""

    context: TrainingContext
    choices: Mapping[str, str]


def use_chosen_ease(context: TrainingContext, cut: datetime) -> ChosenEase:
    """Return a context whose EASE is chosen on the windows before `cut`.

    The same one where the configuration does not let it be chosen.
    """
    config = context.config
    if not config.choose_ease or config.ease_kind != "exact":
        return ChosenEase(context, {})
    context.progress(f"weighting and penalty of EASE as of {cut:%Y-%m-%d}")
    choice = measure_ease(context, cut)
    chosen = context.with_config(choice.apply(config))
    return ChosenEase(chosen, choice.describe(config.ease))


def measure_ease(context: TrainingContext, cut: datetime) -> EaseChoice:
    """Measure the settings of the configuration and others on the windows before `cut`."""
    config, baselines = context.config, context.config.baselines
    tried = [
        EaseSettings(weighting, share * config.ease.l2)
        for weighting, share in product(WEIGHTINGS, _L2_SHARES)
    ]
    given = (config.ease, baselines.all.ease, baselines.new.ease)
    settings = list(dict.fromkeys([*map(EaseSettings.of, given), *tried]))
    past = windows(cut, config.n_windows, config.window_weeks, context.settings.timezone)
    parts = [_measure_window(context, window, settings) for window in past]
    return EaseChoice(
        cut,
        {
            task: {key: np.concatenate([part[task][key] for part in parts]) for key in settings}
            for task in TASKS
        },
    )


def _measure_window(
    context: TrainingContext, window: Window, settings: Sequence[EaseSettings]
) -> dict[RankingTask, dict[EaseSettings, Float64Array]]:
    """Return NDCG at K by task and setting of each user of the window with a relevant item."""
    known = context.read_known(window.cut)
    interactions = _select_most_bought(known.interactions)
    relevant = find_relevant_items(context.facts, window, known)
    users = sorted(relevant["all"])
    drawn = generator(context.settings.seed, f"users of EASE {window.cut.isoformat()}")
    users = [users[n] for n in np.sort(drawn.permutation(len(users))[:_MAX_USERS])]
    user_rows = {user: row for row, user in enumerate(interactions.user_ids)}
    rows = find_positions(user_rows, np.array(users, object))
    index = {item_id: position for position, item_id in enumerate(interactions.item_ids)}
    is_relevant = {
        task: _mark_relevant([relevant[task].get(user, frozenset()) for user in users], index)
        for task in TASKS
    }
    is_known = rows >= 0
    bought = interactions.matrix[rows[is_known]].toarray() > 0
    values: dict[RankingTask, dict[EaseSettings, Float64Array]] = {task: {} for task in TASKS}
    for key, scores in _score_items(interactions, rows[is_known], context.config.ease, settings):
        for task in TASKS:
            ranked = np.where(bought, np.float32(0), scores) if task == "new" else scores
            values[task][key] = _measure_ndcg(ranked, is_relevant[task][is_known])
    return values


def _select_most_bought(interactions: Interactions) -> Interactions:
    """Return the items with the most buyers."""
    buyers = np.bincount(interactions.matrix.indices, minlength=len(interactions.item_ids))
    items = np.sort(np.argsort(-buyers, kind="stable")[:_N_ITEMS])
    matrix = interactions.matrix[:, items]
    return replace(interactions, item_ids=interactions.item_ids[items], matrix=matrix)


def _mark_relevant(item_ids: Sequence[frozenset[str]], index: Mapping[str, int]) -> BoolArray:
    """Return whether each item of `index` is relevant (users, items)."""
    is_relevant = np.zeros((len(item_ids), len(index)), bool)
    for row, items in enumerate(item_ids):
        is_relevant[row, [index[item] for item in items if item in index]] = True
    return is_relevant


def _score_items(
    interactions: Interactions,
    rows: Int64Array,
    config: EaseConfig,
    settings: Sequence[EaseSettings],
) -> Iterator[tuple[EaseSettings, Float32Array]]:
    """Yield the scores (users, items) of the users at `rows` by each of the settings."""
    for weighting in dict.fromkeys(key.weighting for key in settings):
        penalties = [key.l2 for key in settings if key.weighting == weighting]
        weighted = interactions.weigh(weighting)[rows].toarray()
        models = fit_ease_penalties(interactions, replace(config, weighting=weighting), penalties)
        for l2, model in zip(penalties, models, strict=True):
            scores: Float32Array = weighted @ model.weights.toarray()
            yield EaseSettings(weighting, l2), scores


def _measure_ndcg(scores: Float32Array, is_relevant: BoolArray) -> Float64Array:
    """Return NDCG at K of the users (n,) with a relevant item; a score of 0 or less ranks none."""
    n_relevant = is_relevant.sum(1)
    hits = np.zeros((len(scores), _K), bool)
    for row, user_scores in enumerate(scores):
        best = top_positions(user_scores, _K)
        hits[row, : len(best)] = is_relevant[row, best]
    values = ndcgs(hits, n_relevant, _K)
    return np.asarray(values[n_relevant > 0])


def _change(config: Config, settings: EaseSettings) -> Config:
    return replace(config, weighting=settings.weighting, l2=settings.l2)
