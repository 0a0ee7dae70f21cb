"""From a request to a campaign: what the request lacks is estimated from the past, or assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from features.contracts.money import to_major, to_minor
from features.facts.facts import Facts
from models.pricing.promotions.mechanics import DEFAULT_LOG_SD, Campaign, Mechanic
from models.pricing.promotions.spend_threshold import PRIOR_STRETCH, learn_stretch
from serving.what_if.baskets import BASKET_WEEKS, read_basket, read_past_offers, require_basket
from serving.what_if.coupons import MIN_LINES, read_coupon_use
from serving.what_if.promotion_documents import CampaignInput, PromotionRequest

ASSUMED_TAKE_UP, ASSUMED_TAKE_UP_ERROR = 0.3, 0.15
ASSUMED_SWITCHING = 0.25
_Z10 = 1.2815515655446004
Source = Literal["given", "estimated", "assumed"]


@dataclass(frozen=True)
class RequestedCampaign:
    """A campaign, and the numbers that it rests on beside those of the request."""

    campaign: Campaign
    inputs: tuple[CampaignInput, ...]


def build_campaign(
    request: PromotionRequest, facts: Facts, currency: str, now: datetime
) -> RequestedCampaign:
    """Return the campaign of a request, money in minor units of `currency`.

    Raises BadInput where the mechanic lacks a number that cannot be estimated.
    """
    campaign_values: dict[str, float | int | None] = {
        "switching": ASSUMED_SWITCHING if request.switching is None else request.switching
    }
    inputs: list[CampaignInput] = []
    if request.mechanic is Mechanic.COUPON:
        values, inputs = _estimate_coupon(request, facts, now)
        campaign_values |= values
    else:
        campaign_values["take_up"] = request.take_up
    if request.mechanic is Mechanic.SPEND_SAVE:
        values, inputs = _estimate_spend(request, facts, currency, now)
        campaign_values |= values
    if request.switching is None:
        note = "share of the additional units that the family loses, where no effects are learnt"
        inputs.append(_describe("switching", ASSUMED_SWITCHING, "assumed", note))
    campaign = request.to_campaign(currency, campaign_values)
    return RequestedCampaign(campaign, tuple(inputs))


def _estimate_coupon(
    request: PromotionRequest, facts: Facts, now: datetime
) -> tuple[dict[str, float | int | None], list[CampaignInput]]:
    """Return reach and take-up of a coupon, with where they come from."""
    use = None
    if request.coupon_reach is None or request.take_up is None:
        use = read_coupon_use(facts, request.zone, now)
    past = "" if use is None else f"from {use.n_lines:,} purchases during past coupons"
    unknown = f"fewer than {MIN_LINES} purchases during past coupons tell it"
    inputs = []
    reach, take_up, error = request.coupon_reach, request.take_up, 0.0
    if reach is None:
        source: Source = "assumed" if use is None else "estimated"
        reach = 1.0 if use is None else use.reach
        inputs.append(_describe("coupon_reach", reach, source, past or unknown))
    if take_up is None:
        source = "assumed" if use is None else "estimated"
        take_up = ASSUMED_TAKE_UP if use is None else use.take_up
        error = ASSUMED_TAKE_UP_ERROR if use is None else use.take_up_error
        low, high = max(take_up - _Z10 * error, 0.0), min(take_up + _Z10 * error, 1.0)
        inputs.append(_describe("take_up", take_up, source, past or unknown, (low, high)))
    return {"coupon_reach": reach, "take_up": take_up, "take_up_error": error}, inputs


def _estimate_spend(
    request: PromotionRequest, facts: Facts, currency: str, now: datetime
) -> tuple[dict[str, float | int | None], list[CampaignInput]]:
    """Return the spend of orders and how far they stretch, with where they come from."""
    basket = read_basket(facts, request.item_ids, request.zone, now)
    inputs = []
    if request.mean_basket is None:
        basket = require_basket(basket, request.zone)
        mean_minor = basket.mean_minor
        mean = float(to_major(mean_minor, currency))
        note = (
            f"mean spend of {basket.n_orders:,} orders of the last {BASKET_WEEKS} weeks "
            "that hold any of the items"
        )
        inputs.append(_describe("mean_basket", mean, "estimated", note))
    else:
        mean_minor = to_minor(request.mean_basket, currency)
    if basket is None or basket.log_sd <= 0:
        log_sd, note = DEFAULT_LOG_SD, "too few orders hold these items"
        inputs.append(_describe("basket_log_sd", log_sd, "assumed", note))
    else:
        log_sd, note = basket.log_sd, f"of the log spend of {basket.n_orders:,} orders (lognormal)"
        inputs.append(_describe("basket_log_sd", log_sd, "estimated", note))
    stretch, error, source = request.stretch, 0.0, "given"
    if stretch is None:
        past = read_past_offers(facts, request.zone, now, currency)
        learnt = learn_stretch(past) if past else PRIOR_STRETCH
        stretch, error = learnt.value, learnt.log_error
        n_orders = sum(int(campaign.counts.sum()) for campaign in past)
        note = (
            f"from the bunching of {n_orders:,} orders of {len(past)} past campaigns"
            if past
            else "no past campaign of kind spend_save with threshold and amount is known"
        )
        band = (stretch * math.exp(-_Z10 * error), stretch * math.exp(_Z10 * error))
        source = "estimated" if past else "assumed"
        inputs.append(
            CampaignInput(
                name="stretch", value=stretch, low=band[0], high=band[1], source=source, note=note
            )
        )
    values: dict[str, float | int | None] = {
        "mean_basket_minor": mean_minor,
        "basket_log_sd": log_sd,
        "stretch": stretch,
        "stretch_log_error": error,
    }
    return values, inputs


def _describe(
    name: str, value: float, source: Source, note: str, band: tuple[float, float] | None = None
) -> CampaignInput:
    low, high = band or (None, None)
    return CampaignInput(name=name, value=value, low=low, high=high, source=source, note=note)
