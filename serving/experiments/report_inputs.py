"""What the report of an experiment is made from: exposures, answers, events and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from configs.settings import Settings
from experiments.analysis.report import ReportInputs
from experiments.definition import Experiment
from experiments.metrics import Metric, needs_answers, needs_items
from features.database import reading
from features.facts.exposures import read_first_exposures, read_links
from features.facts.facts import Facts
from features.facts.slates import ANSWERS, read_answers


def read_report_inputs(
    settings: Settings,
    engine: sa.Engine,
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    allocations: Sequence[tuple[datetime, Mapping[str, float]]],
    until: datetime,
) -> ReportInputs:
    """Return the inputs of a report at `until`; the logged answers only where a metric reads them.

    allocations   where the shares of the variants follow their results, see ReportInputs
    """
    key = experiment.key
    with reading(engine) as connection:
        exposures = read_first_exposures(connection, key, until=until)
        links = read_links(connection, key, until=until)
        answers = ANSWERS.empty_table()
        if needs_answers(experiment, metrics):
            with_items = needs_items(experiment, metrics)
            answers = read_answers(connection, key, until=until, with_items=with_items)
    facts = Facts(settings)
    items = facts.read("items")
    return ReportInputs(
        exposures=exposures,
        events=facts.read("events"),
        answers=answers,
        costs=items,
        n_items=int(items.count().to_pyarrow().as_py()),
        links=links,
        allocations=allocations,
        other_currency=[
            zone for zone in settings.zones if settings.zone(zone).currency != settings.currency
        ],
    )
