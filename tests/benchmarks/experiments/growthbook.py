"""The published cases of GrowthBook's assignment, against our port; and what a decision costs.

`python -m tests.benchmarks.experiments.growthbook --cases FILE`: the suites hash, getBucketRange,
chooseVariation, inNamespace, getEqualWeights and stickyBucket of GrowthBook's cases.json, which is
not part of the repository. Exits with 1 where a case fails.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.assignment import assign
from experiments.definition import Experiment, Layer, Variant
from experiments.growthbook import (
    StickyRule,
    choose_variation,
    compute_bucket_ranges,
    find_sticky_variant,
    hash_unit,
    is_in_namespace,
    make_equal_weights,
)
from tests.benchmarks.targets import Target

MOST_MICROSECONDS = 20


def check_hash(case: list[Any]) -> bool:
    seed, value, version, expected = case
    return hash_unit(seed, value, version) == expected


def check_bucket_range(case: list[Any]) -> bool:
    _, (n_variants, coverage, weights), expected = case
    ranges = compute_bucket_ranges(n_variants, coverage, weights)
    return [[round(end, 6) for end in one] for one in ranges] == expected


def check_choice(case: list[Any]) -> bool:
    _, share, ranges, expected = case
    return choose_variation(share, ranges) == expected


def check_namespace(case: list[Any]) -> bool:
    _, unit_id, (name, start, end), expected = case
    return is_in_namespace(unit_id, name, start, end) is expected


def check_equal_weights(case: list[Any]) -> bool:
    n_variants, expected = case
    return [int(weight * 1e8) / 1e8 for weight in make_equal_weights(n_variants)] == expected


def check_sticky_bucket(case: list[Any]) -> bool:
    """Evaluate a feature whose only rule is an experiment, and compare the result and what is
    stored of it."""
    _, context, stored, feature, expected, expected_stored = case
    attributes = context["attributes"]
    rule = context["features"][feature]["rules"][0]
    documents = {f"{one['attributeName']}||{one['attributeValue']}": one for one in stored}
    is_sticky = not rule.get("disableStickyBucketing", False)
    name = rule.get("hashAttribute", "id")
    fallback = rule.get("fallbackAttribute") if is_sticky else None
    unit_name = name if attributes.get(name) else fallback
    condition = rule.get("condition", {})
    if not unit_name or any(attributes.get(key) != value for key, value in condition.items()):
        return expected is None
    unit_id = attributes[unit_name]
    key, seed = rule.get("key", feature), rule.get("seed", rule.get("key", feature))
    variants = rule["variations"]
    names = [one["key"] for one in rule.get("meta", [])] or [str(n) for n in range(len(variants))]
    sticky_rule = StickyRule(key, rule.get("bucketVersion", 0), rule.get("minBucketVersion", 0))

    def read(attribute: str | None) -> Mapping[str, str]:
        document = documents.get(f"{attribute}||{attributes.get(attribute)}", {})
        return document.get("assignments", {})

    found = find_sticky_variant(sticky_rule, read(name), read(fallback), names)
    share = hash_unit(seed, unit_id, rule.get("hashVersion", 1))
    assert share is not None
    if is_sticky and found.variant is not None:
        index = names.index(found.variant)
    else:
        ranges = compute_bucket_ranges(len(variants), rule.get("coverage", 1), rule.get("weights"))
        index = choose_variation(share, ranges)
    result = {
        "bucket": share,
        "hashAttribute": unit_name,
        "hashValue": unit_id,
        "key": names[index],
        "stickyBucketUsed": is_sticky and found.variant is not None,
        "value": variants[index],
        "variationId": index,
    }
    if is_sticky:
        document = documents.setdefault(
            f"{unit_name}||{unit_id}",
            {"attributeName": unit_name, "attributeValue": unit_id, "assignments": {}},
        )
        name_of_version = sticky_rule.name_assignment(sticky_rule.version)
        document["assignments"] = {**document["assignments"], name_of_version: names[index]}
    is_same = all(expected[key] == value for key, value in result.items())
    return is_same and all(documents[key] == value for key, value in expected_stored.items())


SUITES: Mapping[str, Callable[[list[Any]], bool]] = {
    "hash": check_hash,
    "getBucketRange": check_bucket_range,
    "chooseVariation": check_choice,
    "inNamespace": check_namespace,
    "getEqualWeights": check_equal_weights,
    "stickyBucket": check_sticky_bucket,
}


def measure_decision() -> Target:
    """Return the CPU time of one assignment with layer and rollout, mean of 20,000 units."""
    arms = (Variant("a", 0.5), Variant("b", 0.5))
    trial = Experiment("trial", ("home",), arms, "a", "trial", "?")
    experiment = replace(trial, coverage=0.5, layer=Layer("home", 0, 1))
    units = [f"user-{number:08}" for number in range(20_000)]
    began = time.process_time()
    for unit in units:
        assign(experiment, unit)
    microseconds = (time.process_time() - began) / len(units) * 1e6
    return Target(
        f"a decision takes less than {MOST_MICROSECONDS} us of CPU",
        f"{microseconds:.1f} us",
        microseconds < MOST_MICROSECONDS,
    )


def main(cases: Path | None) -> int:
    """Run all suites; return the exit status."""
    decision = measure_decision()
    print(decision)
    return max(_compare(cases), 0 if decision.met else 1)


def _compare(cases: Path | None) -> int:
    if cases is None or not cases.exists():
        print("GrowthBook's cases: no file, nothing was compared; give one with --cases FILE")
        return 0
    suites = json.loads(cases.read_text())
    n_missed = 0
    for name, check in SUITES.items():
        failed = [case[0] for case in suites[name] if not check(case)]
        n_missed += len(failed)
        n_passed = len(suites[name]) - len(failed)
        print(f"{name}: {n_passed} of {len(suites[name])} cases{f', not {failed}' * bool(failed)}")
    return 1 if n_missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path)
    raise SystemExit(main(parser.parse_args().cases))
