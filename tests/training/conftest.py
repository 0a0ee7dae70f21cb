from tests.shops.databases import engine, migrated_sqlite, postgres_url, settings  # noqa: F401
