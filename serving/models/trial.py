"""The trial of a version: another process loads it and lets it answer.

A damaged file can end the process that loads it: LightGBM aborts on a text that does not fit its
sizes. `python -m serving.models.trial NAME FOLDER` reads the settings as JSON from its input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from configs.settings import Settings
from features.contracts.errors import Damaged, Unavailable
from serving.models.model_files import (
    RECOMMENDATIONS,
    build_recommender,
    load_model,
    load_placements,
    load_rules,
)

if TYPE_CHECKING:
    from models.ranking.model import RecommendationModel

TRIAL_SECONDS = 120


def try_version(settings: Settings, name: str, folder: Path) -> None:
    """Load the files of a version in a process of their own. Raises Damaged where that fails."""
    command = [sys.executable, "-m", "serving.models.trial", name, str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 (our own program)
            command,
            input=settings.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        what = f"the trial of a {name} version did not end within {TRIAL_SECONDS} s"
        raise Damaged(what, where=str(folder)) from error
    if done.returncode < 0:
        what = f"the trial of a {name} version was ended by signal {-done.returncode}"
        raise Damaged(f"{what}: {_last_line(done.stderr)}", where=str(folder))
    if done.returncode:
        what = f"a {name} version cannot be loaded: {_last_line(done.stdout or done.stderr)}"
        raise Damaged(what, where=str(folder))


def answer_once(settings: Settings, name: str, folder: Path) -> None:
    """Load the files of a version, and answer with it where it computes its answers."""
    model = load_model(name, folder)
    if name == RECOMMENDATIONS:
        _recommend_once(settings, cast("RecommendationModel", model))


def _recommend_once(settings: Settings, model: RecommendationModel) -> None:
    import numpy as np

    from features.online.snapshots import load_items

    for ranker in model.rankers.values():
        matrix = np.zeros((2, ranker.booster.num_feature()), np.float32)
        scores = ranker.score(matrix)
        if not np.isfinite(scores).all() or not np.isfinite(ranker.contributions(matrix)).all():
            raise Damaged("a ranker scores an item as infinite")
    try:
        items = load_items(settings)
    except Unavailable:  # before the first materialization
        return
    build_recommender(model, items, load_placements(settings), load_rules(settings))


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else "without a message"


def main() -> None:
    """Try the version of the command line; exit with 1 and the reason where it fails."""
    _, name, folder = sys.argv
    settings = Settings(**Settings.model_validate_json(sys.stdin.read()).model_dump())
    try:
        answer_once(settings, name, Path(folder))
    except Exception as error:  # each kind of damage has an error of its own
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.stdout.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
