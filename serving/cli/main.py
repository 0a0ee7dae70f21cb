"""The command line. Exit codes: 0 done, 1 failed, 2 bad input, 3 a model refused."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import typer

from features.contracts.errors import ShopwrightError
from serving.cli.file_modes import keep_files_private
from serving.cli.verbs import VerbGroup

app = typer.Typer(
    cls=VerbGroup,
    name="shopwright",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def shopwright() -> None:
    """Recommendations, demand forecasts and prices for an online store, kept by experiment."""


def main() -> None:
    """Run the verb and turn errors into messages and exit codes."""
    keep_files_private()
    # Threads of LightGBM that wait for each other sleep. By default they spin: where a server or
    # another training runs on the same cores they take these for themselves, and a training takes
    # six times as long. OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not os.environ.get("SHOPWRIGHT_DEBUG"):
        warnings.simplefilter("ignore")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        for library in ("alembic", "mlflow", "feast"):
            logging.getLogger(library).setLevel(logging.WARNING)
    try:
        code = app(standalone_mode=False)
    except ShopwrightError as error:
        from serving.cli.output import print_error

        print_error(error, as_json="--json" in sys.argv)
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
