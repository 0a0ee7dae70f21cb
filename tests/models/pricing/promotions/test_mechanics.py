"""What is paid under each mechanic, as arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pricing.promotions.mechanics import (
    compute_paid_prices,
    compute_reduced_prices,
)
from tests.shops.campaigns import make_campaign

PRICES = np.array([500.0, 200.0])


@pytest.mark.parametrize(
    ("given", "paid"),
    [
        (make_campaign(percent=0.2), [400, 160]),
        (make_campaign("price_off", amount_minor=150), [350, 50]),
        (make_campaign("price_off", amount_minor=300), [200, 0]),
        (make_campaign("coupon", amount_minor=100, take_up=0.3), [470, 170]),
        (make_campaign("coupon", percent=0.2, take_up=0.5), [500 - 50, 200 - 20]),
        # 7.00 for the two together: 600 instead of 700 for the half that takes it, so a fourteenth
        # off.
        (make_campaign("bundle", amount_minor=600, take_up=0.5), [500 * 13 / 14, 200 * 13 / 14]),
        # Dearer than apart: nobody gains.
        (make_campaign("bundle", amount_minor=900, take_up=0.5), [500, 200]),
        # Buy one get one: half off for the units bought that way.
        (make_campaign("buy_get", take_up=1.0), [250, 100]),
        (make_campaign("buy_get", buy=3, free=1, take_up=0.8), [500 * 0.8, 200 * 0.8]),
    ],
)
def test_what_is_paid_as_arithmetic(given, paid):
    assert compute_paid_prices(given, PRICES).tolist() == pytest.approx(paid)


def test_a_coupon_announces_the_price_of_those_who_use_it():
    coupon = make_campaign("coupon", amount_minor=100, take_up=0.3)
    assert compute_reduced_prices(coupon, PRICES).tolist() == [400, 100]
    reductions = {
        "percent_off": {"percent": 0.1},
        "price_off": {"amount_minor": 10},
        "coupon": {"amount_minor": 10, "take_up": 0.1},
    }
    assert all(make_campaign(name, **values).is_reduction for name, values in reductions.items())
    assert not make_campaign("buy_get", take_up=0.5).is_reduction


def test_spend_and_save_lowers_the_mean_price_by_what_is_saved_anyway():
    offer = {"amount_minor": 500, "threshold_minor": 3000, "mean_basket_minor": 2000}
    given = make_campaign("spend_save", **offer)
    share = float(given.spend_orders.share_from(3000.0))
    assert compute_paid_prices(given, PRICES)[0] == pytest.approx(500 * (1 - 500 * share / 2000))
    again = make_campaign("spend_save", repeats=True, **offer)
    times = sum(float(given.spend_orders.share_from(3000.0 * k)) for k in range(1, 61))
    assert compute_paid_prices(again, PRICES)[0] == pytest.approx(500 * (1 - 500 * times / 2000))


@given(
    price=st.integers(1, 10**6),
    amount=st.integers(1, 10**6),
    share=st.floats(0, 1),
    take_up=st.floats(0, 1),
    buy=st.integers(1, 9),
)
def test_no_mechanic_takes_more_than_all_off_or_raises_a_price(price, amount, share, take_up, buy):
    prices = np.array([float(price)])
    for campaign in (
        make_campaign(percent=share),
        make_campaign("price_off", amount_minor=amount),
        make_campaign("coupon", amount_minor=amount, take_up=take_up),
        make_campaign("bundle", amount_minor=amount, take_up=take_up),
        make_campaign("buy_get", buy=buy, take_up=take_up),
    ):
        depth = 1 - compute_paid_prices(campaign, prices) / prices
        assert -1e-12 <= depth[0] <= 1 + 1e-12
