from tests.shops.databases import engine, migrated_sqlite, postgres_url, settings  # noqa: F401
from tests.shops.served_shop import served, shared, tiny, tiny_home  # noqa: F401
