"""The schema: migrations against the tables that the code knows, and times in UTC."""

import math
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from features.contracts.errors import BadInput
from features.database import reading, transaction
from features.database_tables import Instant, metadata
from features.facts import slates
from serving.database.audit_log import AuditEntry, AuditLog
from serving.database.desk_tables import forecast_sets
from serving.database.forecast_sets import ForecastSets, ModelKey
from serving.database.migrate import newest_revision, upgrade
from serving.database.tables import audit_log
from serving.price_desk.repository import Suggestions
from tests.shops.price_desk import make_suggestion

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def is_of_dialect(schema_object, dialect):
    """Whether the object is made on this engine: `ddl_if` names another one of some indexes."""
    condition = getattr(schema_object, "_ddl_if", None)
    return condition is None or condition.dialect == dialect


def test_the_migrations_create_the_tables_that_the_code_knows(engine):
    def include(schema_object, _name, _kind, _reflected, _compared):
        return is_of_dialect(schema_object, engine.dialect.name)

    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": include})
        assert compare_metadata(context, metadata) == []
        revision = MigrationContext.configure(connection).get_current_revision()
    assert revision == newest_revision()
    upgrade(engine)  # again: nothing to do


def test_a_database_from_a_newer_version_is_refused(engine):
    with transaction(engine) as connection:
        revision = connection.execute(
            sa.text("SELECT version_num FROM alembic_version")
        ).scalar_one()
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInput, match="9999"):
        upgrade(engine)
    with transaction(engine) as connection:
        connection.execute(
            sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
        )


def test_sets_of_forecasts_from_before_their_runs_were_kept_stay(engine):
    """Back to r0021 and on again: what is there stays, and a version may come again."""
    columns = "id, zone, demand_version, pricing_version, made_at, tax_divisor, content"
    insert = (
        f"INSERT INTO forecast_sets ({columns}) VALUES (:id, 'default', '1', '1', :at, 1.0, :x)"
    )
    row = {"id": "first", "at": NOW, "x": b"forecasts"}
    script = import_module("serving.database.migrations.versions.r0022_runs_of_forecast_sets")
    with transaction(engine) as connection:
        with Operations.context(MigrationContext.configure(connection)):
            script.downgrade()
            connection.execute(sa.text(insert).bindparams(**row))
            script.upgrade()
        assert ForecastSets(connection).read_content("first") == b"forecasts"
        again = ModelKey("1", "run of a new registry")
        assert ForecastSets(connection).find("default", again, again) is None
        assert ForecastSets(connection).find("default", ModelKey("1", ""), ModelKey("1", ""))
        connection.execute(
            forecast_sets.update().values(demand_run_id="lost", pricing_run_id="lost")
        )
        connection.execute(sa.text(insert).bindparams(**{**row, "id": "second"}))
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as connection:
        connection.execute(sa.text(insert).bindparams(**{**row, "id": "third"}))


def test_impressions_of_before_become_slates(engine):
    """Back to the tables before r0028 and on again, with a slate of two impressions."""
    script = import_module("serving.database.migrations.versions.r0028_slates")
    row = {
        "recommendation_id": "a",
        "placement": "lab",
        "unit_id": "u",
        "shown_at": NOW,
        "recorded_at": NOW,
        "model_name": "recommendations",
        "model_version": "3",
    }
    ranks = [
        {"impression_id": "a:2", "rank": 2, "item_id": "tea", "propensity": 0.25, "explored": True},
        {"impression_id": "a:1", "rank": 1, "item_id": "milk", "propensity": 1, "explored": False},
    ]
    with transaction(engine) as connection:
        with Operations.context(MigrationContext.configure(connection)):
            script.downgrade()
            impressions = sa.Table("impressions", sa.MetaData(), autoload_with=connection)
            connection.execute(impressions.insert(), [row | rank for rank in ranks])
            connection.execute(
                impressions.insert(),
                [row | ranks[1] | {"impression_id": "b:1", "recommendation_id": "b"}],
            )
            script.upgrade()
        first, second = slates.read_slates(connection, "lab").to_pylist()
    assert (first["recommendation_id"], first["item_id"]) == ("a", ["milk", "tea"])
    assert (first["propensity"], first["reason"]) == ([1.0, 0.25], [None, "exploration"])
    assert (first["unit_id"], first["shown_at"], first["model_version"]) == ("u", NOW, "3")
    assert (second["recommendation_id"], second["item_id"]) == ("b", ["milk"])


def test_times_are_stored_in_utc_and_never_without_a_zone(engine):
    with pytest.raises(sa.exc.StatementError, match="zone"), reading(engine) as connection:
        connection.execute(sa.select(sa.literal(datetime(2018, 1, 1), Instant)))  # noqa: DTZ001
    with transaction(engine) as connection:
        entry = AuditEntry("key_anna", "approve", "price_suggestion", "a")
        AuditLog(connection).append([entry], NOW.astimezone(tz=None))
        at = connection.execute(sa.select(audit_log.c.at)).scalar_one()
    assert (at, at.utcoffset()) == (NOW, timedelta(0))


def test_only_the_reasons_of_suggestions_are_kept_out_of_their_rows(engine):
    """Of twenty suggestions with long reasons; ids and titles stay, however small rows must be."""
    if engine.dialect.name != "postgresql":
        return
    # Digits of a square root: no compression makes such texts short.
    digits = str(math.isqrt(2 * 10**8_000))
    rows = [
        make_suggestion(
            f"item-{number:020}",
            101,
            title=f"A title of thirty letters, {number}",
            expected={"note": digits[number * 70 :][:500]},
            waterfall=[{"note": digits[number * 70 :][500:1_500]}],
            details={"note": digits[number * 70 :][1_500:2_500]},
        )
        for number in range(20)
    ]
    toast = sa.text("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = :name ::regclass")
    with transaction(engine) as connection:
        name = connection.execute(toast, {"name": "price_suggestions"}).scalar_one()
        count = sa.text(f"SELECT count(DISTINCT chunk_id) FROM {name}")
        before = connection.execute(count).scalar_one()
        Suggestions(connection).add(rows)
        values_kept_out = connection.execute(count).scalar_one() - before
    assert values_kept_out == 20 * 3
