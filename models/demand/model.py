"""Weekly demand: one gradient-boosted model over all series with Tweedie loss, direct for every week ahead.

The trees learn a factor on each series' own level (the offset), so small and large series share what promotions do.
The mean is corrected by its bias on earlier origins; a count distribution around it gives the quantiles.
References: Makridakis et al. (2022), M5 accuracy competition; Tweedie loss as in Zhou, Qian & Yang (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.categories import levels, prefix
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.contracts.tables import TIMESTAMP
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.demand.calibration import NEAR, Calibration, Correction
from models.demand.distribution import Dispersion, Doubles
from models.demand.features import features, history
from models.demand.panel import DemandPanel, Floats

KIND = "demand"
FORECASTS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("zone", pa.string()),
        ("ds", TIMESTAMP),
        ("mean", pa.float64()),
        ("p10", pa.float64()),
        ("p50", pa.float64()),
        ("p90", pa.float64()),
        ("price_minor", pa.float64()),  # the offer price that the forecast assumes, null where no plan told one
    ]
)
_EARLIEST = 4  # weeks that a training origin must know
_THREADS = 1  # the learner's threads spin while they wait: two on a busy two-core machine take ten times as long


@dataclass(frozen=True)
class TreesConfig:
    """The learner. `power` is Tweedie's variance power, between 1 (Poisson) and 2 (gamma)."""

    n_trees: int = 120
    learning_rate: float = 0.08
    n_leaves: int = 31
    power: float = 1.15
    min_rows: int = 100
    share_features: float = 0.7
    share_rows: float = 0.8


@dataclass(frozen=True)
class FitConfig:
    """What is learnt from: origins within `memory_weeks`, at most `max_rows` rows of series × origin × week."""

    horizon: int = 13
    memory_weeks: int = 30
    max_rows: int = 400_000
    share_sparse: float = 0.1
    trees: TreesConfig = field(default_factory=TreesConfig)


@dataclass(frozen=True)
class Trees:
    """The fitted learner: a factor on each series' level."""

    booster: lgb.Booster
    names: tuple[str, ...]

    def means(self, panel: DemandPanel, steps: Sequence[int]) -> Doubles:
        """N × steps: uncorrected means for the weeks after the panel's last known one."""
        past = history(panel, panel.n_known)
        result = np.empty((panel.n_series, len(steps)))
        for column, step in enumerate(steps):
            names, rows = features(panel, past, step)
            if tuple(names) != self.names:
                raise BadInput(
                    "the panel has other features than the model was fitted on",
                    hint=f"Train again; the difference: {sorted(set(names) ^ set(self.names))}",
                )
            result[:, column] = past.base * np.exp(self.booster.predict(rows, raw_score=True, num_threads=_THREADS))
        return result


def fit_trees(panel: DemandPanel, config: FitConfig, seed: int) -> Trees:
    """Learns from every origin that the panel's known weeks can judge. Raises BadInput with too little history."""
    names, rows, actual, base = _training_rows(panel, config, seed)
    trees = config.trees
    parameters = {
        "objective": "tweedie",
        "tweedie_variance_power": trees.power,
        "learning_rate": trees.learning_rate,
        "num_leaves": trees.n_leaves,
        "min_data_in_leaf": max(5, min(trees.min_rows, len(actual) // 50)),
        "feature_fraction": trees.share_features,
        "bagging_fraction": trees.share_rows,
        "bagging_freq": 1,
        "max_bin": 63,
        "num_threads": _THREADS,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "boost_from_average": False,
        "verbosity": -1,
    }
    data = lgb.Dataset(rows, actual, init_score=np.log(base), feature_name=_safe(names), free_raw_data=True)
    return Trees(lgb.train(parameters, data, num_boost_round=trees.n_trees), tuple(names))


def _training_rows(panel: DemandPanel, config: FitConfig, seed: int) -> tuple[list[str], Floats, Floats, Floats]:
    """Series × origin × week ahead: all weeks ahead where they fit in `max_rows`, else some, the near ones first."""
    newest = panel.n_known - 1
    origins = list(range(max(_EARLIEST, panel.n_known - config.memory_weeks), newest + 1))
    if not origins or not panel.n_series:
        raise BadInput(
            f"{panel.n_known} weeks of sales are too few to learn from",
            hint=f"At least {_EARLIEST + 1} whole weeks and one item sold are needed",
        )
    rng = generator(seed, "demand rows")
    chosen = _dense(panel) | (rng.random(panel.n_series) < config.share_sparse)
    part = panel.take(np.flatnonzero(chosen if chosen.any() else ~chosen))
    per_origin = max(1, config.max_rows // (part.n_series * len(origins)))
    share = min(1.0, config.max_rows / (part.n_series * len(origins) * per_origin))
    blocks, actual, base = [], [], []
    names: list[str] = []
    for origin in origins:
        past = history(part, origin)
        possible = np.arange(1, min(config.horizon, panel.n_known - origin) + 1)
        for step in _some(possible, per_origin, rng):
            names, rows = features(part, past, int(step))
            kept = slice(None) if share == 1.0 else np.flatnonzero(rng.random(part.n_series) < share)
            blocks.append(rows[kept])
            actual.append(part.units[kept, origin + step - 1])
            base.append(past.base[kept])
    return names, np.concatenate(blocks), np.concatenate(actual), np.concatenate(base)


def _some(possible: npt.NDArray[np.integer], count: int, rng: np.random.Generator) -> npt.NDArray[np.integer]:
    """`count` of the weeks ahead; half of them (rounded up) near."""
    if len(possible) <= count:
        return possible
    near = possible[possible <= NEAR]
    far = possible[possible > NEAR]
    n_far = min(len(far), count // 2)
    picked = [rng.choice(near, min(len(near), count - n_far), replace=False), rng.choice(far, n_far, replace=False)]
    return np.sort(np.concatenate(picked))


def _dense(panel: DemandPanel) -> npt.NDArray[np.bool_]:
    """Series sold in a quarter of the known weeks."""
    return np.asarray((panel.units > 0).mean(axis=1) >= 0.25)


def _safe(names: Sequence[str]) -> list[str]:
    """Column names without the characters that the learner refuses."""
    return [f"{number}_{''.join(c if c.isalnum() else '_' for c in name)}" for number, name in enumerate(names)]


@dataclass(frozen=True)
class CategoryRates:
    """What an item without history sells a week, by zone and category prefix; '' is the whole zone."""

    zones: npt.NDArray[np.object_]
    prefixes: npt.NDArray[np.object_]
    rates: Doubles


class DemandModel:
    """Forecasts of the weeks that follow `cut`, for every series known at it and for items without history."""

    def __init__(
        self,
        trees: Trees,
        calibration: Calibration,
        rates: CategoryRates,
        cut: datetime,
        config: FitConfig,
        forecasts: pa.Table | None = None,
    ) -> None:
        self.trees = trees
        self.calibration = calibration
        self.rates = rates
        self.forecasts = FORECASTS.empty_table() if forecasts is None else forecasts
        self._rates = _by_key(rates)
        self.cut = cut
        self.config = config

    def predict(self, panel: DemandPanel, horizon: int | None = None) -> pa.Table:
        """FORECASTS rows, series by series, for `horizon` weeks after the panel's last known one.

        The panel must hold the plans of those weeks. A series that never sold gets its category's rate.
        """
        n_steps = self.config.horizon if horizon is None else horizon
        room = len(panel.week_starts) - panel.n_known
        if not 1 <= n_steps <= min(room, self.config.horizon):
            raise BadInput(
                f"a horizon of {n_steps} weeks cannot be forecast",
                hint=f"Choose 1 to {min(room, self.config.horizon)} weeks",
            )
        means = np.zeros((panel.n_series, n_steps))
        sold = np.flatnonzero((panel.units > 0).any(axis=1))
        if len(sold):
            # Whole panel in, so that a series' category looks the same whichever series are asked for.
            means = self.trees.means(panel, range(1, n_steps + 1))
        return self.corrected(panel, means)

    def corrected(self, panel: DemandPanel, means: Doubles) -> pa.Table:
        """FORECASTS rows from the learner's N × H means: bias taken out, unsold series filled, quantiles added."""
        means = self.calibration.correction(means)
        for series in np.flatnonzero(~(panel.units > 0).any(axis=1)):
            means[series] = self.rate(str(panel.categories[series]), str(panel.zones[series]))
        steps = range(1, means.shape[1] + 1)
        quantiles = np.stack([self.calibration.quantiles(means[:, s - 1], s) for s in steps], axis=1)
        return forecast_table(panel, means, quantiles)

    def with_forecasts(self, forecasts: pa.Table) -> DemandModel:
        """The same model, with forecasts to keep beside it."""
        return DemandModel(self.trees, self.calibration, self.rates, self.cut, self.config, forecasts)

    def rate(self, category: str, zone: str) -> float:
        """Weekly units of an item without history: of its category, else of the nearest level above that is known."""
        known = self._rates
        for depth in range(len(levels(category)), -1, -1):
            found = known.get((zone, prefix(category, depth)))
            if found is not None:
                return found
        return float(np.mean([value for (_, name), value in known.items() if not name] or [0.0]))

    def save(self, folder: Path) -> None:
        """model.json, trees.txt (LightGBM's text), rates.npz, forecasts.parquet."""
        calibration = self.calibration
        write_meta(
            folder,
            KIND,
            {
                "cut": self.cut.isoformat(),
                "config": asdict(self.config),
                "names": list(self.trees.names),
                "correction": asdict(calibration.correction),
                "near": asdict(calibration.near),
                "far": asdict(calibration.far),
            },
        )
        (folder / "trees.txt").write_text(self.trees.booster.model_to_string(), encoding="utf-8")
        rates = self.rates
        write_arrays(folder / "rates.npz", zones=rates.zones, prefixes=rates.prefixes, rates=rates.rates)
        pq.write_table(self.forecasts, folder / "forecasts.parquet", compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises BadInput when `folder` does not hold a demand model."""
        meta = read_meta(folder, KIND)
        booster = lgb.Booster(model_str=(folder / "trees.txt").read_text(encoding="utf-8"))
        arrays = read_arrays(folder / "rates.npz")
        return cls(
            Trees(booster, tuple(meta["names"])),
            Calibration(_correction(meta["correction"]), _dispersion(meta["near"]), _dispersion(meta["far"])),
            CategoryRates(arrays["zones"], arrays["prefixes"], arrays["rates"]),
            datetime.fromisoformat(meta["cut"]).astimezone(UTC),
            _config(meta["config"]),
            pq.read_table(folder / "forecasts.parquet", schema=FORECASTS),
        )


def category_rates(panel: DemandPanel, unsold: DemandPanel, *, weeks: int = 13, min_series: int = 5) -> CategoryRates:
    """Mean weekly units of an item, by zone and category prefix, over the last weeks; small groups are left out.

    Items of the catalogue that never sold count as 0: what such an item sells must not be thought larger than it was.
    """
    units = np.concatenate([panel.units[:, -weeks:].mean(axis=1), np.zeros(unsold.n_series)]).tolist()
    zones = np.concatenate([panel.zones, unsold.zones])
    categories = np.concatenate([panel.categories, unsold.categories])
    sums: dict[tuple[str, str], list[float]] = {}
    for zone, category, mean in zip(zones, categories, units, strict=True):
        for depth in range(len(levels(category)) + 1):
            total = sums.setdefault((str(zone), prefix(category, depth)), [0.0, 0.0])
            total[0] += mean
            total[1] += 1.0
    kept = sorted(key for key, (_, count) in sums.items() if count >= min_series or not key[1])
    return CategoryRates(
        np.array([zone for zone, _ in kept], object),
        np.array([name for _, name in kept], object),
        np.array([sums[key][0] / sums[key][1] for key in kept], np.float64),
    )


def _by_key(rates: CategoryRates) -> dict[tuple[str, str], float]:
    keys = zip(rates.zones.tolist(), rates.prefixes.tolist(), strict=True)
    return dict(zip(keys, rates.rates.tolist(), strict=True))


def forecast_table(panel: DemandPanel, means: Doubles, quantiles: Doubles) -> pa.Table:
    """N × H means and N × H × 3 quantiles as FORECASTS rows, series by series."""
    n_steps = means.shape[1]
    weeks = pa.array(panel.week_starts[panel.n_known : panel.n_known + n_steps], TIMESTAMP)
    series = pa.array(np.repeat(np.arange(panel.n_series), n_steps))
    columns: list[Any] = [
        pa.array(panel.item_ids, pa.string()).take(series),
        pa.array(panel.zones, pa.string()).take(series),
        weeks.take(pa.array(np.tile(np.arange(n_steps), panel.n_series))),
        means.ravel(),
        *(quantiles[:, :, q].ravel() for q in range(3)),
        pa.array(panel.assumed_prices(n_steps).ravel(), pa.float64(), from_pandas=True),
    ]
    return pa.table(columns, schema=FORECASTS)


def _dispersion(stored: dict[str, list[float]]) -> Dispersion:
    return Dispersion(tuple(stored["edges"]), tuple(stored["alphas"]))


def _config(stored: dict[str, Any]) -> FitConfig:
    return FitConfig(**{**stored, "trees": TreesConfig(**stored["trees"])})


def _correction(stored: dict[str, list[float]]) -> Correction:
    return Correction(tuple(stored["edges"]), tuple(stored["factors"]))
