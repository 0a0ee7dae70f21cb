"""The JSON of what a promotion did."""

from __future__ import annotations

from collections.abc import Mapping

from features.contracts.money import minor_digits, to_major
from features.contracts.pricing import Band
from serving.promotions.documents import (
    BandResponse,
    ComparedResponse,
    PromotionEffectResponse,
    SoldResponse,
)
from serving.promotions.effect import RETURN_DAYS, PromotionEffect
from serving.promotions.outcomes import Compared, Sold


def describe_effect(effect: PromotionEffect) -> PromotionEffectResponse:
    """Return the document of an effect."""
    promotion, currency = effect.promotion, effect.promotion.currency
    return PromotionEffectResponse(
        id=promotion.id,
        verdict=effect.verdict,
        zone=promotion.zone,
        currency=currency,
        starts_at=promotion.starts_at,
        until=effect.until,
        share_of_time=round(effect.share, 6),
        sold=None if effect.sold is None else _describe_sold(effect.sold, currency),
        expected=_describe_bands(effect.expected, currency),
        without=_describe_bands(effect.without, currency),
        gain=_describe_bands(effect.gain, currency),
        funding=to_major(promotion.funding_minor, currency),
        cost=to_major(promotion.cost_minor, currency),
        roi=None if effect.roi is None else _describe_band(effect.roi, 1.0, 4),
        baskets=_describe_compared(effect.baskets, currency),
        conversion=_describe_compared(effect.conversion),
        repeat_purchase=_describe_compared(effect.returns),
        repeat_days=RETURN_DAYS,
        control=effect.control,
        control_factor=round(effect.control_factor, 4),
        unknown=dict(effect.unknown),
    )


def _describe_sold(sold: Sold, currency: str) -> SoldResponse:
    return SoldResponse(
        units=round(sold.units, 3),
        revenue=to_major(round(sold.revenue), currency),
        profit=None if sold.profit is None else to_major(round(sold.profit), currency),
        discount=to_major(round(sold.discount), currency),
    )


def _describe_bands(
    bands: Mapping[str, Band] | None, currency: str
) -> dict[str, BandResponse] | None:
    if bands is None:
        return None
    digits = minor_digits(currency)
    return {
        name: _describe_band(band, 1.0, 2)
        if name == "units"
        else _describe_band(band, 10.0**-digits, digits)
        for name, band in bands.items()
    }


def _describe_band(band: Band, unit: float, digits: int) -> BandResponse:
    values = (round(value * unit, digits) for value in (band.p10, band.p50, band.p90))
    return BandResponse(**dict(zip(("p10", "p50", "p90"), values, strict=True)))


def _describe_compared(
    compared: Compared | None, currency: str | None = None
) -> ComparedResponse | None:
    """Return two values and their difference: shares, or amounts of a currency."""
    if compared is None:
        return None
    digits = 4 if currency is None else minor_digits(currency)
    unit = 1.0 if currency is None else 10.0**-digits
    return ComparedResponse(
        during=round(compared.during * unit, digits),
        before=round(compared.before * unit, digits),
        difference=_describe_band(compared.difference, unit, digits),
        n_during=compared.n_during,
        n_before=compared.n_before,
    )
