"""Options of the promotion that `shopwright promotions` looks at, and how they become a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from features.contracts.clock import parse_local_time
from features.contracts.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from pydantic import BaseModel

Request = TypeVar("Request", bound="BaseModel")

MechanicOption = Annotated[
    str, typer.Option(help="percent_off, price_off, bundle, spend_save, coupon or buy_get")
]
BeginOption = Annotated[
    str, typer.Option("--from", help="A time; without an offset, of the zone's time zone")
]
EndOption = Annotated[str, typer.Option("--to", help="The same; it ends just before")]
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


def read_request(request: type[Request], given: Mapping[str, object], timezone: str) -> Request:
    """Return the request that the options of a verb say, by the names of its parameters.

    Times without an offset are of `timezone`. Raises BadInput with the option at fault, and
    UnknownName.
    """
    from pydantic import ValidationError

    from models.pricing.promotions.mechanics import Mechanic

    mechanic, kinds = str(given["mechanic"]), tuple(Mechanic)
    if mechanic not in kinds:
        raise UnknownName(mechanic, kinds, kind="mechanic", where="--mechanic")
    values = {name: value for name, value in given.items() if name in request.model_fields}
    values |= {"item_ids": given["item"] or [], "support": given["support"] or []}
    if "confirm" in request.model_fields:
        values["confirm"] = given.get("confirm") or []
    values |= {
        name: parse_local_time(str(given[name]), timezone, where=option).isoformat()
        for name, option in (("starts_at", "--from"), ("ends_at", "--to"))
    }
    try:
        return request.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{'-'.join(map(str, first['loc']))}".replace("_", "-")
        raise BadInput(first["msg"].removeprefix("Value error, "), where=option) from error
