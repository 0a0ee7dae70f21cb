"""Scores how well items match a text: BM25 over words and over the character n-grams of words.

Words are compared without case and accents. N-grams let inflected, compound and misspelt words
match in part; scripts that put no blanks between words are cut into characters and pairs of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array

_N_BUCKETS = 2**18  # grams are hashed into so many
_GRAM = 3
_MAX_TEXT = 500  # characters of an item's text, and of a query, that count
_MAX_QUERY_GRAMS = 64  # the rarest: a query costs at most so many passes over the items
_TF_SATURATION, _LENGTH_PENALTY = 1.2, 0.75  # k1 and b of BM25
_LATIN_ACCENTS = re.compile("[\u0300-\u036f]+")
# Han, kana and their extensions.
_WITHOUT_BLANKS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


class TextMatch:
    """An index of the texts of items, "" where one has none."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = _count_grams(texts)
        n_items = counts.shape[0]
        n_holding = np.diff(counts.indptr)
        self._idf = np.log1p((n_items - n_holding + 0.5) / (n_holding + 0.5)).astype(np.float32)
        lengths = np.asarray(counts.sum(1), np.float32).ravel()
        relative = lengths / max(float(lengths.mean()) if n_items else 0.0, 1.0)
        saturation = _TF_SATURATION * (1 - _LENGTH_PENALTY + _LENGTH_PENALTY * relative)
        counts.data *= (_TF_SATURATION + 1) / (counts.data + saturation[counts.indices])
        self._weights = counts

    def score(self, text: str) -> Float32Array:
        """Return how far each item (n_items,) matches a text.

        0 where they have nothing in common; 1 about where an item of usual length has all of it.
        """
        hashed = [_hash_word(word) for word in _split_words(text)]
        buckets = np.unique(
            np.array([bucket for of_word in hashed for bucket in of_word], np.int64)
        )
        rarest = buckets[np.argsort(-self._idf[buckets], kind="stable")[:_MAX_QUERY_GRAMS]]
        idf = self._idf[rarest]
        scores: Float32Array = self._weights[:, rarest] @ idf
        return scores / max(float(idf.sum()), 1e-9)


def _count_grams(texts: Sequence[str]) -> sparse.csc_matrix:
    """Return how often each text has each gram, float32 (texts, buckets); each word is hashed
    once."""
    words = [_split_words(text) for text in texts]
    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(word, len(numbers)) for of_text in words for word in of_text]
    rows = np.repeat(np.arange(len(texts)), [len(of_text) for of_text in words])
    texts_by_word = _make_counts(rows, np.array(columns, np.int64), (len(texts), len(numbers)))
    grams = [_hash_word(word) for word in numbers]
    rows = np.repeat(np.arange(len(grams)), [len(of_word) for of_word in grams])
    buckets = np.array([bucket for of_word in grams for bucket in of_word], np.int64)
    words_by_gram = _make_counts(rows, buckets, (len(numbers), _N_BUCKETS))
    return (texts_by_word @ words_by_gram).tocsc()


def _make_counts(
    rows: Int64Array, columns: Int64Array, shape: tuple[int, int]
) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def _split_words(text: str) -> list[str]:
    plain = text[:_MAX_TEXT]
    if not plain.isascii():
        without_accents = _LATIN_ACCENTS.sub("", unicodedata.normalize("NFKD", plain))
        plain = unicodedata.normalize("NFKC", without_accents)
    return plain.casefold().translate(_SEPARATORS).split()


@lru_cache(maxsize=2**17)
def _hash_word(word: str) -> tuple[int, ...]:
    grams: list[str] = []
    for run in _WITHOUT_BLANKS.findall(word):
        grams += [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
    for part in _WITHOUT_BLANKS.split(word):
        if part:
            marked = f"<{part}>"
            grams += [marked, *(marked[at : at + _GRAM] for at in range(len(marked) - _GRAM + 1))]
    return tuple(crc32(gram.encode()) % _N_BUCKETS for gram in grams)


class _Separators(dict[int, str | int]):
    """What `str.translate` makes of each character: letters, marks and digits stay, all else is a
    blank."""

    def __missing__(self, code: int) -> str | int:
        stays = unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if stays else " "
        return self[code]


_SEPARATORS = _Separators()
