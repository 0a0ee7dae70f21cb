"""The variants of a new experiment as cards: name, share, and what each changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

from nicegui import ui

from experiments.definition import CHAMPION, Policy
from features.contracts.errors import BadInput
from models.ranking.placement import ScorerName
from models.registry import CHALLENGER, Version
from serving.console.pages.experiment_form_fields import Values, write_share
from serving.console.pages.experiment_words import name_policy
from serving.console.parts import name_element, read_number, show_heading
from serving.console.visit import Visit

_UNCHANGED = ""
_FIELDS = ("scorer", "diversity", "rules")
_WAIT_MS = 400


@dataclass(frozen=True)
class _Card:
    """The fields of one variant.

    element   holds them
    kept      the values of the placement that no field shows
    """

    element: ui.element
    kept: Mapping[str, object]
    name: ui.input
    weight: ui.input
    policy: ui.select
    model: ui.select
    scorer: ui.select
    diversity: ui.input
    rules: ui.select


class VariantCards:
    """The cards, the control first; `on_change` is called a moment after a change."""

    def __init__(
        self,
        visit: Visit,
        versions: Sequence[Version],
        rule_sets: Sequence[str],
        variants: Sequence[Values],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._visit, self._on_change = visit, on_change
        self._versions, self._rule_sets = versions, rule_sets
        self._cards: list[_Card] = []
        self._area = ui.element("div").classes("form-columns")
        for variant in variants:
            self._add(variant)
        texts = visit.texts
        add = ui.button(texts.get("experiments.add_variant"), icon="add", on_click=self._add_third)
        add.props("outline dense")

    async def _add_third(self) -> None:
        self._add({})
        await self._on_change()

    def _add(self, variant: Values) -> None:
        texts, place = self._visit.texts, len(self._cards)
        name = variant.get("name", "")
        heading = texts.get("experiments.treatment" if place else "experiments.control")
        with self._area, ui.element("section").classes("card form") as element:
            name_element(element.props("role=group"), f"{heading} {name}".strip())
            with ui.element("div").classes("pair"):
                show_heading(heading, level=3)
                if place > 1:
                    remove = ui.button(icon="close", on_click=partial(self._remove, element))
                    name_element(
                        remove.props("flat dense round"), texts.get("experiments.remove_variant")
                    )
            card = self._build_fields(element, variant)
        self._cards.append(card)

    def _build_fields(self, element: ui.element, variant: Values) -> _Card:
        texts = self._visit.texts
        placement = variant.get("placement", {})
        diversity = placement.get("diversity")
        models_shown = {str(variant.get("model", CHAMPION))}
        policies = {one: name_policy(self._visit, one) for one in get_args(Policy)}
        models = {CHAMPION: texts.get("experiments.model_champion")}
        models |= {CHALLENGER: texts.get("experiments.model_challenger")}
        versions = [one.version for one in self._versions]
        models |= {
            one: texts.get("experiments.changes_model", model=one)
            for one in dict.fromkeys([*versions, *(models_shown - models.keys())])
        }
        scorers = {_UNCHANGED: texts.get("experiments.unchanged")}
        scorers |= {one: one.replace("_", " ") for one in get_args(ScorerName)}
        rules = {one: one for one in [*self._rule_sets, *placement.get("rules", ())]}
        return _Card(
            element=element,
            kept={name: value for name, value in placement.items() if name not in _FIELDS},
            name=self._add_text("variant_name", variant.get("name", "")),
            weight=self._add_text("weight", write_share(variant.get("weight"))),
            policy=self._add_choice("policy", policies, variant.get("policy", CHAMPION)),
            model=self._add_choice("model", models, str(variant.get("model", CHAMPION))),
            scorer=self._add_choice("scorer", scorers, placement.get("scorer", _UNCHANGED)),
            diversity=self._add_text("diversity", "" if diversity is None else f"{diversity:g}"),
            rules=self._add_choice("rules", rules, list(placement.get("rules", ())), multiple=True),
        )

    def _add_text(self, name: str, value: str) -> ui.input:
        field = ui.input(self._visit.texts.get(f"experiments.field_{name}"), value=value)
        field.props(f"dense outlined debounce={_WAIT_MS}").on_value_change(self._on_change)
        return field

    def _add_choice(
        self, name: str, options: dict[str, str], value: object, *, multiple: bool = False
    ) -> ui.select:
        label = self._visit.texts.get(f"experiments.field_{name}")
        field = ui.select(options, value=value, multiple=multiple, label=label)
        field.props("dense outlined options-dense").on_value_change(self._on_change)
        return field

    async def _remove(self, element: ui.element) -> None:
        self._cards = [card for card in self._cards if card.element is not element]
        element.delete()
        await self._on_change()

    def read(self) -> list[dict[str, object]]:
        """Return the variants as a definition has them. Raises BadInput."""
        return [self._read_card(card) for card in self._cards]

    def _read_card(self, card: _Card) -> dict[str, object]:
        texts = self._visit.texts
        name = (card.name.value or "").strip()
        if not name:
            where = texts.get("experiments.field_variant_name")
            raise BadInput(texts.get("experiments.is_needed"), where=where)
        label = texts.get("experiments.field_weight")
        variant: dict[str, object] = {
            "name": name,
            "weight": round(read_number(card.weight.value or "", label) / 100, 8),
        }
        if card.policy.value != CHAMPION:
            variant["policy"] = card.policy.value
        if card.model.value != CHAMPION:
            variant["model"] = card.model.value
        if placement := self._read_placement(card):
            variant["placement"] = placement
        return variant

    def _read_placement(self, card: _Card) -> dict[str, object]:
        """Return the values of the placement that the variant changes."""
        placement = dict(card.kept)
        if card.scorer.value != _UNCHANGED:
            placement["scorer"] = card.scorer.value
        if diversity := (card.diversity.value or "").strip():
            label = self._visit.texts.get("experiments.field_diversity")
            placement["diversity"] = read_number(diversity, label)
        if card.rules.value:
            placement["rules"] = list(card.rules.value)
        return placement
