"""The sets of merchandising rules that a process applies: files, and versions in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from features.contracts.errors import ShopwrightError
from features.contracts.recommendations import ItemFeatures
from models.ranking.placement import Placement, add_rule_sets
from models.ranking.slate.merchandising_rules import RuleBook, RuleSet
from serving.conditions import Conditions
from serving.database.rule_versions import RuleVersion, SavedVersions
from serving.merchandising.present_sets import build_set

RULES = "merchandising rules"
_READING = "saved merchandising rules"


class ServedRules:
    """The sets by name. Where the newest version of one cannot be used, the version before it is,
    and so on, then its file: every process chooses the same.

    Raises UnknownName for files that do not fit the placements.
    """

    def __init__(
        self,
        files: Mapping[str, RuleSet],
        placements: Mapping[str, Placement],
        saved: SavedVersions | None,
        conditions: Conditions,
    ) -> None:
        add_rule_sets(placements, files)
        self._files = files
        self._placements = placements
        self._saved = saved
        self._conditions = conditions
        self._numbers: dict[str, int] = {}
        self._versions: dict[str, Sequence[RuleVersion]] = {}

    def use_placements(self, placements: Mapping[str, Placement]) -> None:
        """Check sets against other placements from now on."""
        self._placements = placements

    def refresh(self) -> bool:
        """Read what was saved since the last call; return whether anything was.

        Where the database does not answer, what is served stays.
        """
        if self._saved is None:
            return False
        try:
            numbers = self._saved.read_numbers()
            changed = [name for name in numbers if numbers[name] != self._numbers.get(name)]
            versions = {name: self._saved.read_versions(name) for name in changed}
        except Exception as error:  # the next round may succeed
            self._conditions.report(_READING, str(error))
            return False
        self._conditions.clear(_READING)
        self._numbers = numbers
        self._versions |= versions
        return bool(changed)

    def choose(self, items: ItemFeatures | None) -> dict[str, RuleSet]:
        """Return the sets that can be used on a catalogue; None: before there is one."""
        chosen: dict[str, RuleSet] = dict(self._files)
        problems = []
        for name, versions in sorted(self._versions.items()):
            for version in versions:
                try:
                    rule_set = build_set(name, version.values)
                    self.check(name, rule_set, items)
                except ShopwrightError as error:
                    problems.append(f"version {version.number} of {name} cannot be used: {error}")
                else:
                    chosen[name] = rule_set
                    break
        if problems:
            self._conditions.report(RULES, "; ".join(problems))
        else:
            self._conditions.clear(RULES)
        return chosen

    def check(self, name: str, rule_set: RuleSet, items: ItemFeatures | None) -> None:
        """Raise UnknownName for a placement or an item feature that the shop does not have."""
        add_rule_sets(self._placements, {**self._files, name: rule_set})
        if items is not None:
            RuleBook(items, {name: rule_set})
