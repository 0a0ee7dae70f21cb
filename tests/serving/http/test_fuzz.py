"""Whatever is sent, within its schema or outside it, the server never answers with an error of its
own."""

import contextlib
import logging

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.shops.served_shop import add_price_response


@pytest.fixture(scope="module")
def schema(shared):
    logging.getLogger("httpx").setLevel(logging.WARNING)
    add_price_response(
        shared.settings, butter=-2.0
    )  # without a pricing champion simulations answer 503
    shared.server.served_models.refresh()
    return schemathesis.openapi.from_asgi("/openapi.json", shared.app)


@pytest.mark.parametrize("n_examples", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_nothing_crashes_the_server(shared, schema, n_examples):
    """Every operation, a bounded number of examples each, seeded."""
    answered: dict[str, set[int]] = {}
    headers = {"Authorization": shared.client.headers["Authorization"]}
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            # An operation without any input has nothing that could be wrong.
            with contextlib.suppress(Unsatisfiable):
                _run(
                    operation,
                    operation.as_strategy(generation_mode=mode),
                    shared,
                    headers,
                    answered,
                    n_examples,
                )
    crashed = {
        name: statuses
        for name, statuses in answered.items()
        if any(status >= 500 for status in statuses)
    }
    assert crashed == {}
    assert len(answered) > 25


def _run(operation, strategy, shared, headers, answered, n_examples):
    from hypothesis import given

    @settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def once(case):
        case.headers = {**(case.headers or {}), **headers}
        response = case.call(session=shared.client)
        answered.setdefault(operation.label, set()).add(response.status_code)

    once()
