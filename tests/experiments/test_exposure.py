from datetime import UTC, datetime

from experiments.definition import Experiment, Variant
from experiments.exposure import Exposure, exposure

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)
SYSTEM = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_exposure_is_named_after_its_answer_and_carries_its_propensity() -> None:
    variants = (Variant("champion", 0.8), Variant("buy_again", 0.2, "buy_again"))
    experiment = Experiment("trial", ("home",), variants, "champion", "trial", "they sell alike")
    row = exposure(
        experiment,
        variants[1],
        "u1",
        recommendation_id="r1",
        placement="home",
        occurred_at=NOON,
        recorded_at=SYSTEM,
        model_name="recommendations",
        model_version="3",
    )
    assert row == Exposure(
        "trial:r1",
        "trial",
        "buy_again",
        "u1",
        NOON,
        SYSTEM,
        "r1",
        "home",
        "recommendations",
        "3",
        propensity=0.2,
    )
