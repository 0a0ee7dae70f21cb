"""The catalogue as people look things up in it: titles and pictures by id, search, categories."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from configs.settings import Settings
from features.contracts.categories import SEPARATOR
from features.contracts.manifest import stamp_manifest
from features.contracts.tables import ITEMS
from features.facts.stored_columns import read_stored_columns

_COLUMNS = ("item_id", "title", "category", "brand", "image_url")


@dataclass(frozen=True)
class CatalogueItem:
    """An item as people know it; every field but the id is "" where the catalogue says nothing."""

    item_id: str
    title: str = ""
    category: str = ""
    brand: str = ""
    image_url: str = ""

    @property
    def name(self) -> str:
        """The title, or the id of an item without one."""
        return self.title or self.item_id


@dataclass(frozen=True)
class _Catalogue:
    """The catalogue as of one import; `search_texts` are title and id in small letters."""

    items: Mapping[str, CatalogueItem] = field(default_factory=dict)
    search_texts: tuple[tuple[str, str], ...] = ()
    categories: tuple[str, ...] = ()


class CatalogueService:
    """Reads the imported items; after an import it reads them anew. Safe to share between threads.

    It reads the Parquet files themselves and loads no analytical database.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "tables"
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._catalogue = _Catalogue()

    def find(self, item_ids: Iterable[str]) -> dict[str, CatalogueItem]:
        """Return the items by id; one that the catalogue does not have has its id alone."""
        items = self._read().items
        return {item_id: items.get(item_id) or CatalogueItem(item_id) for item_id in item_ids}

    def search(self, text: str, *, limit: int = 20) -> list[CatalogueItem]:
        """Return items whose title or id has every word of a text.

        The one with this id comes first, then those that begin with the text, then by title.
        """
        wanted = text.casefold().strip()
        words = wanted.split()
        catalogue = self._read()
        matches = [
            (search_text, item_id)
            for search_text, item_id in catalogue.search_texts
            if all(word in search_text for word in words)
        ]
        matches.sort(
            key=lambda match: (match[1].casefold() != wanted, not match[0].startswith(wanted))
        )
        return [catalogue.items[item_id] for _, item_id in matches[:limit]]

    def list_categories(self) -> tuple[str, ...]:
        """Return every category and those above it, in order."""
        return self._read().categories

    def _read(self) -> _Catalogue:
        stamp = stamp_manifest(self._folder)
        with self._lock:
            if stamp != self._stamp:
                self._catalogue, self._stamp = self._read_items(), stamp
            return self._catalogue

    def _read_items(self) -> _Catalogue:
        rows = read_stored_columns(self._folder, ITEMS, _COLUMNS).to_pylist()
        items = [
            CatalogueItem(**{name: value or "" for name, value in row.items()}) for row in rows
        ]
        by_title = sorted(items, key=lambda item: (item.name.casefold(), item.item_id))
        paths = {item.category for item in items if item.category}
        categories = {
            SEPARATOR.join(parts[:depth])
            for parts in (path.split(SEPARATOR) for path in paths)
            for depth in range(1, len(parts) + 1)
        }
        return _Catalogue(
            {item.item_id: item for item in by_title},
            tuple((f"{item.title} {item.item_id}".casefold(), item.item_id) for item in by_title),
            tuple(sorted(categories)),
        )
