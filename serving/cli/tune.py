"""`shopwright tune recommendations`: ranker parameters by Optuna, every trial in MLflow."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from serving.cli.file_modes import share_output
from serving.cli.output import JsonOption, print_json, print_line, steps
from serving.cli.shop import Shop


class Tunable(StrEnum):
    """The models that can be tuned."""

    RECOMMENDATIONS = "recommendations"


def tune(
    which: Annotated[Tunable, typer.Argument(help="recommendations")],
    out: Annotated[
        Path,
        typer.Option(help="YAML file for the best parameters, to train with: train --config FILE"),
    ],
    until: Annotated[str | None, typer.Option(help="Nothing from this instant on is used")] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials for each ranker; the first is the present config")
    ] = 30,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with differences to the shipped config")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Search the rankers' parameters on windows that end before --until, and write the best as a
    config."""
    from training.recommendations.tuning import tune_rankers
    from training.run import TrainingRun, load_config, load_task

    if not out.absolute().parent.is_dir():
        raise BadInput(
            "no such folder", where=str(out.parent), hint="Make it, or name another --out"
        )
    shop = Shop()
    instant = None if until is None else parse_time(until, where="--until")
    with steps(1) as progress:
        run = TrainingRun(shop.facts, shop.settings, shop.registry, instant, progress.say)
        ranker_config = load_config(load_task(which), shop.settings, file=config)
        results = tune_rankers(run, ranker_config, n_trials=trials)
    parameters = {f"ranker_{result.task}": asdict(result.ranker) for result in results}
    out.write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
    share_output(out)
    if json:
        print_json({"items": [asdict(result) for result in results], "file": str(out)})
        return
    for result in results:
        print_line(
            f"ranker_{result.task} ({result.task} items): NDCG@10 {result.before:.4f} "
            f"with the present config, {result.best:.4f} best of {result.n_trials} trials, with "
            + ", ".join(f"{name} {value}" for name, value in asdict(result.ranker).items())
        )
    print_line(f"Train with it: shopwright train {which} --config {out}")
