import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "models.pricing.shrinkage",
        "models.pricing.controls",
        "experiments.simulator.demand",
        "experiments.simulator.plan",
        "experiments.simulator.weather",
    ],
)
def test_examples_in_docstrings_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
