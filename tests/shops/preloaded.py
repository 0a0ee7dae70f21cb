"""What the programs of a shop import, most of a start: imported once, before they are forked."""

import gc
import os
from importlib import import_module

import numpy as np

# As serving/cli/main.py sets them, before MLflow and OpenMP are loaded.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

for name in (
    "anyio._backends._asyncio",
    "faiss",
    "ibis.backends.duckdb.converter",
    "implicit",
    "lightgbm",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "features.online.feast_definitions",
    "serving.app",
    "serving.cli.main",
    "serving.cli.serve",
    "serving.cli.console",
    "serving.console.app",
    "serving.forecasts.price_index",
    "training.demand.task",
    "training.pricing.task",
    "training.recommendations.task",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
):
    import_module(name)

for name in import_module("serving.console.app").PAGES:
    import_module(f"serving.console.pages.{name}")

import_module("features.online.feast_definitions").import_feast()

# Loads what numba needs for any kernel.
import_module("models.compiled.top_items").top_positions(np.ones(2, np.float32), 1)

import_module("tests.shops.empty_registry").share_empty_registry()

gc.collect()
gc.freeze()  # as the server does: a fork that looks at what was imported copies its memory
