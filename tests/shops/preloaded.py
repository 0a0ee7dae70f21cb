"""What the programs of a shop import, most of a start: imported once, before they are forked."""

import gc
import os
from importlib import import_module

# As serving/cli/main.py sets them, before MLflow and OpenMP are loaded.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

for name in (
    "faiss",
    "implicit",
    "mlflow.pyfunc",
    "features.online.feast_definitions",
    "serving.app",
    "serving.cli.main",
    "serving.console.app",
    "training.demand.task",
    "training.pricing.task",
    "training.recommendations.task",
):
    import_module(name)

gc.collect()
gc.freeze()  # as the server does: a fork that looks at what was imported copies its memory
