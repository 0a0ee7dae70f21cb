"""The command line. Exit codes: 0 done, 1 failed, 2 bad input."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import typer

from features.contracts.errors import ShopwrightError
from serving.cli import (
    demo,
    doctor,
    evaluate,
    experiments,
    features,
    forecasts,
    imports,
    inventory,
    keys,
    models,
    price_tests,
    prices,
    promotions,
    recommend,
    serve,
    synthetic_shop,
    train,
    tune,
)
from serving.cli.output import print_error

app = typer.Typer(
    name="shopwright",
    help="Recommendations, demand forecasts and prices for an online store, kept by experiment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("import")(imports.import_tables)
app.add_typer(features.app, name="features")
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("retrain")(train.retrain)
app.add_typer(models.app, name="models")
app.add_typer(forecasts.app, name="forecasts")
prices.app.command("tests")(price_tests.tests)
app.add_typer(prices.app, name="prices")
app.command("simulate")(synthetic_shop.simulate)
app.add_typer(promotions.app, name="promotions")
app.command("inventory")(inventory.inventory)
app.command("recommend")(recommend.recommend)
app.command("serve")(serve.serve)
app.add_typer(experiments.app, name="experiments")
app.add_typer(keys.app, name="keys")
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the verb and turn errors into messages and exit codes."""
    if not os.environ.get("SHOPWRIGHT_DEBUG"):
        warnings.simplefilter("ignore")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        for library in ("alembic", "mlflow", "feast"):
            logging.getLogger(library).setLevel(logging.WARNING)
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except ShopwrightError as error:
        print_error(error, as_json=as_json)
        code = error.exit_code
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        code = 1
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the parser itself
        if show is None:
            raise
        show()
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
