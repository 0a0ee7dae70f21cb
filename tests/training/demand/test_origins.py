import pytest

from features.contracts.errors import BadInput
from training.demand.config import DemandConfig
from training.demand.origins import (
    calibration_origins,
    evaluation_origins,
    shorten_protocol,
)


def test_an_origin_is_calibrated_by_the_newest_origins_whose_weeks_are_over() -> None:
    config = DemandConfig()
    assert evaluation_origins(53, config) == [40, 44, 48]
    assert calibration_origins(40, 53, config) == [40 - 4, 36 - 4, 32 - 4]
    assert calibration_origins(44, 53, config) == [40, 36, 32]
    assert calibration_origins(48, 53, config) == [44, 40, 36]
    assert calibration_origins(53, 53, config) == [48, 44, 40]


def test_a_horizon_longer_than_a_step_leaves_out_origins_whose_weeks_are_not_over() -> None:
    config = DemandConfig(horizon=8, step_weeks=3, n_origins=4)
    assert evaluation_origins(44, config) == [26, 29, 32, 35]
    assert calibration_origins(26, 44, config) == [26 - 8, 18 - 3, 15 - 3]
    assert calibration_origins(32, 44, config) == [18, 15, 12]  # 26 + 8 > 32
    assert calibration_origins(35, 44, config) == [26, 18, 15]


def test_little_history_has_one_earlier_origin() -> None:
    config = DemandConfig()
    assert calibration_origins(9, 14, config) == [5]
    assert calibration_origins(14, 14, config) == [9, 5]
    assert evaluation_origins(13, config) == [8]
    assert calibration_origins(8, 13, config) == [4]
    assert calibration_origins(13, 13, config) == [8, 4]


def test_a_small_shop_is_calibrated_at_more_origins() -> None:
    expected = [36, 32, 28, 24, 20, 16, 12]  # the next one, 8, knows fewer than 9 weeks
    assert calibration_origins(40, 53, DemandConfig(), most=8) == expected


def test_a_short_history_is_evaluated_on_its_last_third() -> None:
    for n_known in range(3, 14):
        short = shorten_protocol(DemandConfig(), n_known)
        (origin,) = evaluation_origins(n_known, short)
        assert 1 <= short.horizon <= max(1, n_known // 3)
        assert n_known - 1 <= origin + short.horizon <= n_known
        assert calibration_origins(origin, n_known, short)
    assert shorten_protocol(DemandConfig(), 14) == DemandConfig()
    with pytest.raises(BadInput, match="2 whole weeks of sales are too few to forecast; 3 are"):
        shorten_protocol(DemandConfig(), 2)
