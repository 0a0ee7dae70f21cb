"""The counts of `python -m tests.code_counts` stay within their limits."""

from __future__ import annotations

import pytest

from tests.code_counts import REPEATED_NAMES, Counts, count_all


@pytest.fixture(scope="module")
def counts() -> Counts:
    return count_all()


def test_few_functions_have_more_than_six_parameters(counts: Counts) -> None:
    assert len(counts.many_parameters) <= 10, counts.many_parameters


def test_functions_are_named_by_verbs(counts: Counts) -> None:
    assert len(counts.participle_names) <= 10, counts.participle_names


def test_signatures_have_real_types(counts: Counts) -> None:
    assert len(counts.any_in_signatures) <= 60, counts.any_in_signatures


def test_file_names_repeat_only_with_a_reason(counts: Counts) -> None:
    assert counts.unexplained_names == {}
    assert sorted(set(REPEATED_NAMES) - set(counts.repeated_names)) == []  # no outdated reason
