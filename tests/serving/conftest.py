from tests.databases import engine, migrated_sqlite, postgres_url, settings  # noqa: F401
from tests.serving.tiny_shop import served, shared, tiny, tiny_home  # noqa: F401
