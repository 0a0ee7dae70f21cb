from datetime import UTC, datetime

from experiments.definition import Experiment, Variant
from experiments.exposure import ServedAnswer, build_exposure
from features.facts.exposures import Exposure

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)
SYSTEM = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_exposure_is_named_after_its_answer_and_carries_its_propensity() -> None:
    variants = (Variant("champion", 0.8), Variant("buy_again", 0.2, "buy_again"))
    experiment = Experiment(
        key="trial",
        placements=("home",),
        variants=variants,
        control="champion",
        salt="trial",
        hypothesis="they sell alike",
    )
    answer = ServedAnswer(
        recommendation_id="r1",
        placement="home",
        occurred_at=NOON,
        recorded_at=SYSTEM,
        model_name="recommendations",
        model_version="3",
    )
    row = build_exposure(experiment, variants[1], "u1", answer)
    assert row == Exposure(
        exposure_id="trial:r1",
        experiment="trial",
        variant="buy_again",
        unit_id="u1",
        exposed_at=NOON,
        recorded_at=SYSTEM,
        recommendation_id="r1",
        placement="home",
        model_name="recommendations",
        model_version="3",
        propensity=0.2,
    )
