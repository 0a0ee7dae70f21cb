"""What a text finds among the titles of items, in any script."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.retrieval.text_match import TextMatch

TITLES = (
    "Organic whole milk", "Crème brûlée", "运动鞋 男", "Laufschuhe Herren", "молоко",
    "حليب كامل الدسم", "दूध का पैकेट", "サンダル", "운동화", "Running shoe, red", "Red wine", "",
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("MILK", "Organic whole milk"),
        ("creme brulee", "Crème brûlée"),
        ("鞋", "运动鞋 男"),  # a part of what is written without blanks
        ("schuhe", "Laufschuhe Herren"),  # a part of a compound
        ("молока", "молоко"),  # another case
        ("حليب", "حليب كامل الدسم"),
        ("दूध", "दूध का पैकेट"),
        ("ｻﾝﾀﾞﾙ", "サンダル"),  # half-width
        ("운동화", "운동화"),
        ("shoes", "Running shoe, red"),
        ("runing", "Running shoe, red"),  # misspelt
        ("red-shoe!", "Running shoe, red"),
        ("wine red", "Red wine"),
    ],
)
def test_a_query_finds_the_title(query: str, title: str) -> None:
    scores = TextMatch(TITLES).score(query)
    assert TITLES[int(scores.argmax())] == title
    assert scores.max() > 2 * np.sort(scores)[-2] or query in ("red-shoe!", "wine red")


def test_the_score_is_bm25_as_a_share_of_a_full_match() -> None:
    # Of two items of equal length one has the only word: idf cancels out, and tf is 1 at an item of
    # usual length: (k1 + 1) / (1 + k1) = 1.
    assert TextMatch(["tea", "rum"]).score("tea") == pytest.approx([1.0, 0.0])
    # "tea" stands in both, "red" and its grams in one: idf of the word and of its 3 grams,
    # "<re", "red" and "ed>", each log(1 + 1.5 / 1.5); of those of "tea" log(1 + .5 / 2.5).
    rare, common = np.log(2.0), np.log(1.2)
    first, second = TextMatch(["tea red", "tea rum"]).score("red tea")
    assert first == pytest.approx(1.0)
    assert second == pytest.approx(4 * common / (4 * common + 4 * rare))


@pytest.mark.parametrize("query", ["", " ", "!?", "😀", "qqqq"])
def test_a_query_without_a_known_word_matches_nothing(query: str) -> None:
    assert not TextMatch(TITLES).score(query).any()
    assert TextMatch([]).score(query).shape == (0,)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.text(max_size=2_000))
def test_any_text_has_finite_scores_whatever_its_script_and_length(
    titles: list[str], query: str
) -> None:
    scores = TextMatch(titles).score(query)
    assert scores.shape == (len(titles),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_the_length_of_a_query_does_not_change_how_many_grams_are_looked_up() -> None:
    """Only the 500 first characters count, and of these the 64 rarest grams."""
    rng = np.random.default_rng(4)
    words = ["".join(chr(97 + n) for n in rng.integers(26, size=5)) for _ in range(500)]
    match = TextMatch(words)
    long = " ".join(words)
    assert (match.score(long) > 0).sum() <= 500 / 6 + 500 * 64 / 26**2
    assert match.score(long) == pytest.approx(match.score(long[:500]))
