"""`shopwright recommend`: slates of many users as Parquet files, for mail."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import BadInput, UnknownName
from serving.cli.file_modes import share_output
from serving.cli.output import JsonOption, print_json, print_line, steps
from serving.cli.shop import Shop


def recommend(
    out: Annotated[
        Path, typer.Option(help="Folder of Parquet files; one that was written before is replaced")
    ],
    users: Annotated[str, typer.Option(help="all, or a file with a user_id a line")] = "all",
    placement: Annotated[str, typer.Option(help="Which placement")] = "home",
    count: Annotated[int, typer.Option(min=1, max=100, help="Items a user")] = 20,
    processes: Annotated[
        int | None, typer.Option(min=1, help="As many as there are cores if unset")
    ] = None,
    long_tail: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Assign so many of the last ranks to items that few users are shown; "
            "long_tail.places of the placement if unset",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write user_id, rank, item_id, score, reason, model_version: the server's answers as of the
    features' time."""
    from threadpoolctl import threadpool_limits

    from features.facts.off_sale import find_off_sale
    from features.online.histories import compute_offline_histories
    from serving.database.desk_tables import merchandising_rule_versions, placement_versions
    from serving.database.rule_versions import SavedVersions
    from serving.models.served_models import ServedModels
    from serving.recommendations.batch import BatchRequest, write_slates

    shop = Shop()
    chosen = None if users == "all" else _read_users(Path(users))
    served_models = ServedModels(
        shop.settings,
        shop.registry,
        saved_rules=SavedVersions(shop.engine, merchandising_rule_versions),
        saved_placements=SavedVersions(shop.engine, placement_versions),
    )
    placements = served_models.placements
    if placement not in placements:
        raise UnknownName(placement, placements, kind="placement", where="--placement")
    configured = placements[placement].long_tail
    places = configured.places if long_tail is None else long_tail
    _check_folder(out)
    with steps(2) as progress, threadpool_limits(1):
        progress.say("loading the champion and the histories")
        served_models.refresh()
        served = served_models.recommender()
        histories = compute_offline_histories(shop.facts, served.items.as_of, chosen)
        progress.done()
        progress.say(f"slates of {len(histories):,} users")
        started = time.perf_counter()
        n_rows = write_slates(
            out,
            served,
            histories,
            BatchRequest(
                user_ids=chosen if chosen is not None else sorted(histories),
                placement=placement,
                count=count,
                off_sale=find_off_sale(shop.settings, shop.now()),
                long_tail=replace(configured, places=places),
            ),
            n_processes=processes or os.cpu_count() or 1,
        )
        share_output(out)
        seconds = time.perf_counter() - started
        progress.done()
    if json:
        print_json(
            {"users": len(histories), "rows": n_rows, "seconds": seconds, "folder": str(out)}
        )
    else:
        speed = f"{len(histories) / seconds:,.0f} users a second"
        print_line(
            f"{n_rows:,} rows of {len(histories):,} users in {out}, {seconds:.0f} s, {speed}"
        )


def _check_folder(out: Path) -> None:
    """Raise BadInput for a folder that contains other files than slates."""
    if out.exists() and (
        not out.is_dir() or any(file.suffix != ".parquet" for file in out.iterdir())
    ):
        raise BadInput(
            "the folder contains other files than slates",
            where=str(out),
            hint="Choose a new folder for --out",
        )


def _read_users(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(
            "cannot read the list of users", where=str(path), hint="Write one user_id a line"
        ) from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
