"""The placements that a process serves: files, and versions in their place."""

from __future__ import annotations

from collections.abc import Mapping

from configs.loading import build
from features.contracts.errors import ShopwrightError
from models.ranking.placement import Placement, add_rule_sets
from models.ranking.slate.merchandising_rules import RuleSet
from serving.conditions import Conditions
from serving.database.rule_versions import SavedVersions

_PART = "saved placements"


class ServedPlacements:
    """The placements by name. A version that cannot be used leaves the file of its name."""

    def __init__(
        self,
        files: Mapping[str, Placement],
        saved: SavedVersions | None,
        conditions: Conditions,
    ) -> None:
        self._files = files
        self._saved = saved
        self._conditions = conditions
        self._numbers: Mapping[str, int] = {}
        self.current: Mapping[str, Placement] = files

    def refresh(self, sets: Mapping[str, RuleSet]) -> bool:
        """Read what was saved since the last call; return whether anything changed.

        Where the database does not answer, what is served stays.
        """
        if self._saved is None:
            return False
        try:
            numbers = self._saved.read_numbers()
            if numbers == self._numbers:
                return False
            newest = {name: self._saved.read_versions(name)[0] for name in numbers}
        except Exception as error:  # the next round may succeed
            self._conditions.report(_PART, str(error))
            return False
        current, problems = dict(self._files), []
        for name, version in newest.items():
            try:
                placement = build(version.values, Placement, where=f"placement {name!r}")
                self.check(name, placement, sets)
            except ShopwrightError as error:
                problems.append(f"version {version.number} of {name} cannot be used: {error}")
            else:
                current[name] = placement
        if problems:
            self._conditions.report(_PART, "; ".join(problems))
        else:
            self._conditions.clear(_PART)
        self._numbers, self.current = numbers, current
        return True

    def check(self, name: str, placement: Placement, sets: Mapping[str, RuleSet]) -> None:
        """Raise UnknownName for a placement that has no file, or that names no set of rules."""
        if name in self._files:
            add_rule_sets({**self.current, name: placement}, sets)
