"""Named worlds: parameters of simulated shops that are written down before any model is run.

standard   one response to every price; families, costs and promotions are known
real       what shops report and the literature measures, all at once
varied     every shop has its own parameters, from ranges around those of `real`: a model that fits
           one set of parameters only fails here

Sources of `real`:

- Response to reductions and to regular prices: Bijmolt, van Heerde and Pieters, New empirical
  generalizations on the determinants of price elasticity, 2005 (1,851 elasticities, mean -2.62, of
  both kinds); Blattberg, Briesch and Fox, How promotions work, 1995: temporary reductions move
  sales more than regular prices do. Here -3.1 for depth; regular prices .7 of it, -2.2 on average.
- Announcement: Inman, McAlister and Hoyer, Promotion signal, 1990, and Guadagni and Little, A
  logit model of brand choice, 1983: the sign sells beside the price. Here a factor of 1.3.
- Dips after promotions: van Heerde, Leeflang and Wittink, The estimation of pre- and postpromotion
  dips with store-level scanner data, 2000: 4 to 25 % of the promotion's own effect.
- Reference prices: Winer 1986; Kalyanaram and Winer, Empirical generalizations from reference price
  research, 1995; Neumann and Böckenholt, A meta-analysis of loss aversion in product choice, 2014:
  losses weigh about 1.5 times as much as gains.
- Regular prices: Nakamura and Steinsson, Five facts about prices, 2008: 9 to 12 % of them change in
  a month, by about 8 %. Anderson, Malin, Nakamura, Simester and Steinsson, Informational rigidities
  and the stickiness of temporary sales, 2017: costs move regular prices, not reductions. Here an
  item changes one to four times a year, by 3 to 15 %; a fifth of the items never do.
- Pass-through of costs: Besanko, Dubé and Gupta, Own-brand and cross-brand retail pass-through,
  2005: above 60 % in most categories.
- Short deliveries: Gruen, Corsten and Bharadwaj, Retail out-of-stocks, 2002: 8 % of items, about
  twice as many in promotions.
- A competitor moves demand much less than an item's own price: Hoch, Kim, Montgomery and Rossi,
  Determinants of store-level price elasticity, 1995.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Literal, cast

import numpy as np

from experiments.simulator.parameters import Form, ShopParameters
from features.contracts.errors import BadInput
from features.contracts.seeds import generator

World = Literal["standard", "real"]
VARIED = "varied"
_RANGES = {
    "slope": (-3.6, -2.4),
    "regular_share": (0.45, 0.95),
    "regular_share_spread": (0.0, 0.2),
    "announcement": (0.0, 0.5),
    "announcement_spread": (0.0, 0.2),
    "unannounced": (0.0, 0.3),
    "dip": (0.2, 0.8),
    "dip_memory": (0.0, 0.7),
    "reference_gain": (0.0, 0.5),
    "reference_loss": (0.0, 0.7),
    "item_shock": (0.0, 0.3),
    "foresight": (0.0, 1.0),
    "price_foresight": (-0.3, 0.5),
    "level_drift": (0.0, 0.25),
    "slope_drift": (0.0, 0.2),
    "units": (6.0, 25.0),
    "slow_share": (0.0, 0.6),
    "unknown_families": (0.0, 1.0),
    "cross": (0.2, 0.5),
    "inside": (0.2, 0.5),
    "competitor": (0.0, 0.5),
    "competitor_match": (0.0, 0.5),
    "competitor_seen": (0.0, 1.0),
    "cost_steps": (0.01, 0.04),
    "cost_rounds": (0.0, 0.02),
    "price_steps": (0.005, 0.04),
    "price_stickiness": (0.02, 0.05),
    "never_repriced": (0.0, 0.5),
    "promoted": (0.06, 0.25),
    "stock_outs": (0.02, 0.1),
    "short_promotions": (1.0, 3.0),
}


def build_standard_world(form: Form) -> ShopParameters:
    """Return the parameters of the world with one response to every price."""
    return ShopParameters(form=form)


def build_real_world(form: Form) -> ShopParameters:
    """Return the parameters of the world with every difficulty."""
    return ShopParameters(
        form=form,
        slope=-3.1,
        regular_share=0.7,
        regular_share_spread=0.15,
        announcement=0.26,
        announcement_spread=0.15,
        unannounced=0.1,
        dip_memory=0.5,
        reference_gain=0.3,
        reference_loss=0.45,
        item_shock=0.2,
        foresight=0.8,
        price_foresight=0.3,
        level_drift=0.15,
        slope_drift=0.1,
        slow_share=0.3,
        unknown_families=0.5,
        competitor=0.3,
        competitor_match=0.3,
        competitor_seen=0.5,
        cost_steps=0.02,
        cost_spread=0.07,
        cost_rounds=0.012,
        price_steps=0.02,
        price_spread=0.07,
        price_stickiness=0.03,
        never_repriced=0.2,
        stock_outs=0.05,
        short_promotions=2.0,
    )


WORLDS: Mapping[World, Callable[[Form], ShopParameters]] = {
    "standard": build_standard_world,
    "real": build_real_world,
}


def draw_varied_world(form: Form, rng: np.random.Generator) -> ShopParameters:
    """Return the parameters of one shop of the world `varied`, each uniform in its range."""
    drawn = {name: float(rng.uniform(low, high)) for name, (low, high) in _RANGES.items()}
    n_weeks = int(rng.choice([78, 104, 156]))
    return ShopParameters(**(asdict(build_real_world(form)) | drawn | {"n_weeks": n_weeks}))


def build_parameters(world: str, form: Form, seed: int) -> ShopParameters:
    """Return the parameters of one shop of a world, `varied` among them.

    Raises BadInput for a world that is not known.
    """
    if world == VARIED:
        return draw_varied_world(form, generator(seed, "varied world"))
    if world not in WORLDS:
        names = ", ".join([*WORLDS, VARIED])
        raise BadInput(f"no world is called {world!r}", hint=f"One of: {names}")
    return WORLDS[cast(World, world)](form)
