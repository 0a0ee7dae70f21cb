"""Options of the promotion that `shopwright promotions` looks at."""

from __future__ import annotations

from typing import Annotated

import typer

MechanicOption = Annotated[
    str, typer.Option(help="percent_off, price_off, bundle, spend_save, coupon or buy_get")
]
PercentOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="percent_off, coupon: share taken off")
]
AmountOption = Annotated[str | None, typer.Option(help="Taken off; the price of a bundle")]
ThresholdOption = Annotated[str | None, typer.Option(help="spend_save: what must be spent")]
MeanBasketOption = Annotated[
    str | None,
    typer.Option(help="spend_save: mean spend on these items; that of the last weeks if unset"),
]
RepeatsOption = Annotated[bool, typer.Option(help="spend_save: for every threshold reached")]
TakeUpOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="bundle, buy_get: share of the units bought that way; coupon: share of those who "
        "got one, as past coupons tell if unset",
    ),
]
CouponReachOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="coupon: share of the demand whose buyers get one"),
]
StretchOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=20,
        help="spend_save: mean gap that orders close, as a multiple of the saving; learnt from "
        "past campaigns if unset",
    ),
]
BuyOption = Annotated[int, typer.Option(min=1, help="buy_get: units that are paid")]
FreeOption = Annotated[int, typer.Option(min=1, help="buy_get: units that come free")]
SwitchingOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of the additional units taken from the family"),
]
SupportOption = Annotated[
    list[str] | None, typer.Option(help="display, mailer, ... with it; may be repeated")
]
ReachOption = Annotated[
    float, typer.Option(min=0, max=1, help="Share of shops or visitors that the support meets")
]
