"""The runs of the models behind frozen forecasts: a registry that was lost counts versions anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLE = "forecast_sets"
_VERSIONS = ("zone", "demand_version", "pricing_version")
_RUNS = ("demand_run_id", "pricing_run_id")
_OF_VERSIONS = "uq_forecast_sets_zone_demand_version_pricing_version"
_OF_MODELS = "uq_forecast_sets_models"


def upgrade() -> None:
    with op.batch_alter_table(_TABLE) as table:
        for name in _RUNS:
            # Nobody knows the runs of earlier sets: the next approval freezes forecasts anew.
            table.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
        table.drop_constraint(op.f(_OF_VERSIONS), type_="unique")
        table.create_unique_constraint(op.f(_OF_MODELS), [*_VERSIONS, *_RUNS])


def downgrade() -> None:
    with op.batch_alter_table(_TABLE) as table:
        table.drop_constraint(op.f(_OF_MODELS), type_="unique")
        for name in _RUNS:
            table.drop_column(name)
        table.create_unique_constraint(op.f(_OF_VERSIONS), list(_VERSIONS))
