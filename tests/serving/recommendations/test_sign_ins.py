"""Who signs in with an event keeps the variant of the visitor, once, and only with consent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from experiments.definition import Experiment
from experiments.experiment_files import load_experiments
from features.contracts.errors import Unavailable
from features.database import transaction
from features.facts import exposures
from features.facts.exposures import Exposure, read_links
from serving.recommendations import met_variants
from serving.recommendations.met_variants import MetVariants
from serving.recommendations.sign_ins import SignIns
from tests.shops.clocks import SYSTEM_CLOCK

NOW = datetime(2018, 1, 1, 5, tzinfo=UTC)


@pytest.fixture
def experiment(settings) -> Experiment:
    """The shipped experiment, running."""
    return replace(load_experiments(settings)["home_ranker"], status="running")


def make_sign_ins(engine, experiment, log, refused=()) -> SignIns:
    return SignIns(
        experiments=lambda: {experiment.key: experiment},
        met_variants=MetVariants(engine),
        find_refused=lambda users: set(users) & set(refused),
        clock=SYSTEM_CLOCK,
        system_clock=SYSTEM_CLOCK,
        log=log,
    )


def meet(engine: sa.Engine, experiment: Experiment, unit_id: str, variant: str) -> None:
    with transaction(engine) as connection:
        exposures.append(
            connection,
            [Exposure(f"{unit_id} {variant}", experiment.key, variant, unit_id, NOW, NOW)],
        )


def test_a_user_gets_the_variant_of_the_visitor_once(engine, experiment) -> None:
    logged: list[Exposure] = []
    sign_ins = make_sign_ins(engine, experiment, logged.append, refused=("refuser",))
    names = [variant.name for variant in experiment.variants]
    meet(engine, experiment, "v1", names[1])
    meet(engine, experiment, "v2", names[0])
    meet(engine, experiment, "known", names[0])
    events = [
        {"visitor_id": visitor, "user_id": user}
        for visitor, user in [
            ("v1", "new"),
            ("v1", "new"),
            ("v1", "refuser"),
            ("v2", None),
            (None, "new"),
            ("met nothing", "other"),
            ("v1", "known"),
        ]
    ]
    sign_ins.note(events)
    sign_ins.note([*events, {"item_id": "milk"}])
    # "known" met another variant as a user before: it stays, and the report finds the unit mixed.
    assert {(row.unit_id, row.visitor_id, row.variant) for row in logged} == {
        ("new", "v1", names[1]),
        ("known", "v1", names[0]),
    }
    assert len(logged) == 2
    with transaction(engine) as connection:
        exposures.append(connection, logged)
        links = read_links(connection, experiment.key, until=SYSTEM_CLOCK.now())
    assert links["visitor_id"].to_pylist() == ["v1"]
    # Of a user alone: the variant of the visitor; nothing of who was never a visitor.
    meet(engine, experiment, "never a visitor", names[0])
    alone = MetVariants(engine)
    users = ("new", "known", "never a visitor", "nobody")
    met = [alone.find(experiment.key, user, None) for user in users]
    assert met == [names[1], names[0], None, None]


def test_nobody_is_joined_while_consent_is_unknown_or_nothing_runs(engine, experiment) -> None:
    logged: list[Exposure] = []

    def fail(_users):
        raise Unavailable("it is not known who allows personalization")

    meet(engine, experiment, "v1", experiment.control)
    event = {"visitor_id": "v1", "user_id": "new"}
    unknown = replace(make_sign_ins(engine, experiment, logged.append), find_refused=fail)
    unknown.note([event])
    for other in (replace(experiment, status="stopped"), replace(experiment, unit="visitor")):
        make_sign_ins(engine, other, logged.append).note([event])
    assert logged == []


def test_who_was_never_a_visitor_is_looked_up_once_a_minute(engine, monkeypatch) -> None:
    variants, seconds, looked_up = MetVariants(engine, capacity=2), 0.0, []

    def find_none(_connection, _experiment, user_id):
        looked_up.append(user_id)

    monkeypatch.setattr(met_variants, "find_joined_variant", find_none)
    monkeypatch.setattr(met_variants.time, "monotonic", lambda: seconds)
    for user in ("a", "a", "b", "a", "c", "c"):
        assert variants.find("home", user, None) is None
    assert looked_up == ["a", "b", "c"]
    variants.find("home", "a", None)  # forgotten: only two are remembered
    seconds = 61.0  # another process may have seen the sign-in
    variants.find("home", "c", None)
    assert looked_up == ["a", "b", "c", "a", "c"]
    variants.remember(Exposure("e", "home", "blue", "c", NOW, NOW, visitor_id="v"))
    assert variants.find("home", "c", None) == "blue"
    assert len(looked_up) == 5
