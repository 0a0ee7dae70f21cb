"""The form of an experiment: what is compared, on whom, by which metrics, how long will it take?

A new one, or a draft that is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from nicegui import ui

from experiments.definition import CHAMPION, EVERY_PLACEMENT, Analysis, Experiment, UnitKind
from features.contracts.errors import BadInput, ShopwrightError
from models.registry import NAMES, Version
from serving.console.frame import Console, Page
from serving.console.pages.experiment_form_fields import Field, FormFields, Values, write_share
from serving.console.pages.experiment_form_more import MoreFields
from serving.console.pages.experiment_power import PowerPanel
from serving.console.pages.experiment_variants import VariantCards
from serving.console.pages.experiment_words import name_metric
from serving.console.pages.field_rows import Cell, FieldRows
from serving.console.pages.slate_rule_words import name_placement
from serving.console.parts import read_number, show_heading
from serving.console.section import show_error
from serving.experiments.actions import ExperimentActions
from serving.experiments.definitions import build_experiment
from serving.versioned_rules import FILE, NewVersion

_VISITORS = ("any", "new", "known")
_USUAL_MARGIN = "5"
_KEPT = ("salt",)  # what no field shows
_NEW: Values = {
    "placements": ["home"],
    "minimum_effect": 0.03,
    "variants": [{"name": CHAMPION, "weight": 0.5}, {"name": "new", "weight": 0.5}],
}


def add_pages(console: Console) -> None:
    """Add the form of a new experiment."""

    @console.page("/experiments/new", "experiments", ExperimentActions.scope)
    async def new_experiment(page: Page) -> None:
        await _ExperimentForm(page, None).build()

    @console.page("/experiments/{key}/edit", "experiments", ExperimentActions.scope)
    async def edit_experiment(page: Page) -> None:
        await _ExperimentForm(page, page.visit.parameters.pop("key")).build()


class _ExperimentForm:
    """The form as one person has it open; `key` is that of a draft, None for a new experiment."""

    def __init__(self, page: Page, key: str | None) -> None:
        self._page, self._visit, self._key = page, page.visit, key
        self._values: Values = _NEW
        self._number = FILE
        self._server = page.visit.server
        self._fields = FormFields(page.visit, self._follow)
        self._variants: VariantCards
        self._power: PowerPanel

    async def build(self) -> None:
        """Build the parts of the definition, the power beside them, and the way to save."""
        visit, texts = self._visit, self._visit.texts
        versions = await visit.read(self._server.models.list_of_model, NAMES[0])
        if self._key is None:
            self._page.set_title(texts.get("experiments.title_new"))
        else:
            visit.path = f"/experiments/{self._key}/edit"
            read = self._server.experiments.read_values
            self._values, self._number = await visit.read(read, self._key)
            self._page.set_title(texts.get("experiments.title_edit", name=self._key))
        with ui.element("div").classes("form-and-side"):
            with ui.element("div").classes("form"):
                with ui.element("div").classes("form-columns"):
                    self._build_question()
                    self._build_metrics()
                    self._build_units()
                self._build_variants(versions)
                self._more = MoreFields(
                    visit, self._fields, self._metric_names, self._values, self._follow
                )
            with ui.element("aside").classes("card side-panel"):
                self._power = PowerPanel(visit, self._read_experiment, self._plan_units)
        self._problem = ui.element("div").classes("section scroll-target")
        self._problem.props("aria-live=assertive")
        with ui.element("div").classes("filters trial"):
            ui.button(texts.get("experiments.save"), on_click=self._save).props("unelevated")
            if self._key is not None:
                self._fields.add_text("comment").classes("wide")
            ui.label(texts.get("experiments.save_hint")).classes("muted")

    @property
    def _metric_names(self) -> dict[str, str]:
        metrics = self._server.experiments.metrics
        return {name: name_metric(self._visit, name) for name in metrics}

    def _build_question(self) -> None:
        texts, fields, values = self._visit.texts, self._fields, self._values
        placements = {EVERY_PLACEMENT: texts.get("experiments.every_placement")}
        placements |= {
            name: name_placement(self._visit, name)
            for name in self._server.served_models.placements
        }
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.question"))
            if self._key is None:
                key = fields.add_text("key").props("autofocus")
                key.tooltip(texts.get("experiments.key_hint"))
            hypothesis = fields.add_text("hypothesis", values.get("hypothesis", ""))
            hypothesis.props("type=textarea autogrow")
            fields.add_choice("placements", placements, list(values["placements"]), multiple=True)
            fields.add_check(
                "holdout", texts.get("experiments.is_holdout"), values.get("holdout", False)
            )

    def _build_metrics(self) -> None:
        texts, fields, values = self._visit.texts, self._fields, self._values
        names = self._metric_names
        analyses = {
            name: texts.get(f"experiments.analysis_{name}", n=values.get("looks", 5))
            for name in get_args(Analysis)
        }
        planned = values.get("planned_units")
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.metrics"))
            fields.add_choice(
                "primary_metric", names, values.get("primary_metric", "purchase_conversion")
            )
            effect = write_share(values.get("minimum_effect"))
            fields.add_text("minimum_effect", effect).props("inputmode=decimal")
            fields.add_choice("analysis", analyses, values.get("analysis", "fixed"))
            fields.add_text("planned_units", "" if planned is None else str(planned)).props(
                "inputmode=numeric"
            )
            secondary = list(values.get("secondary_metrics", ()))
            fields.add_choice("secondary_metrics", names, secondary, multiple=True)
            self._build_guardrails(names, values.get("guardrails", ()))

    def _build_guardrails(self, names: Mapping[str, str], guardrails: Sequence[Values]) -> None:
        def build(texts: Sequence[str]) -> Sequence[Cell]:
            metric, margin = texts or (next(iter(names)), _USUAL_MARGIN)
            label = self._fields.name_field("guardrail")
            margin_label = self._fields.name_field("guardrail_margin")
            return [
                ui.select(dict(names), value=metric, label=label).props("options-dense"),
                ui.input(margin_label, value=margin).props("inputmode=decimal"),
            ]

        self._guardrails = FieldRows(self._visit, "guardrails", build, self._follow)
        for guardrail in guardrails:
            self._guardrails.add(guardrail["metric"], write_share(guardrail["margin"]))

    def _build_units(self) -> None:
        texts, fields, values = self._visit.texts, self._fields, self._values
        targeting, layer = values.get("targeting", {}), values.get("layer") or {}
        units = {name: texts.get(f"experiments.unit_{name}") for name in get_args(UnitKind)}
        visitors = {name: texts.get(f"experiments.visitors_{name}") for name in _VISITORS}
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.targeting"))
            fields.add_choice("unit", units, values.get("unit", "user"))
            coverage = write_share(values.get("coverage", 1.0))
            fields.add_text("coverage", coverage).props("inputmode=decimal")
            fields.add_choice("visitors", visitors, targeting.get("visitors", "any"))
            chosen = list(targeting.get("zones", ()))
            zones = {zone: zone for zone in [*self._visit.zones, *chosen]}
            fields.add_choice("zones", zones, chosen, multiple=True)
            fields.add_text("layer_name", layer.get("name", ""))
            with ui.element("div").classes("pair"):
                for name, usual in (("start", 0.0), ("end", 1.0)):
                    end = write_share(layer.get(name, usual))
                    fields.add_text(f"layer_{name}", end).props("inputmode=decimal")

    def _build_variants(self, versions: Sequence[Version]) -> None:
        show_heading(self._visit.texts.get("experiments.variants"))
        ui.label(self._visit.texts.get("experiments.about_variants")).classes("muted")
        rule_sets = [one.name for one in self._server.merchandising.list_rules()]
        control = self._values.get("control")
        variants = sorted(self._values["variants"], key=lambda one: one["name"] != control)
        self._variants = VariantCards(self._visit, versions, rule_sets, variants, self._follow)

    async def _follow(self) -> None:
        """Let the power follow the form."""
        await self._power.refresh()

    def _plan_units(self, n_units: int) -> None:
        """Take over the units that the power calculation names."""
        self._fields.set_text("planned_units", str(n_units))

    def _read_experiment(self) -> Experiment:
        """Return what the form says, as far as the power depends on it. Raises BadInput."""
        values = self._read_values()
        values.setdefault("hypothesis", "")
        values.setdefault("planned_units", 1)  # it is what the power is asked for
        return build_experiment("new", values)

    def _read_values(self) -> dict[str, object]:
        """Return the definition that the form describes. Raises BadInput."""
        fields = self._fields
        variants = self._variants.read()
        values: dict[str, object] = {
            "hypothesis": fields.read_text("hypothesis"),
            "placements": fields.read_choices("placements"),
            "variants": variants,
            "control": variants[0]["name"],
            "unit": fields.read_choice("unit"),
            "coverage": fields.read_share("coverage"),
            "primary_metric": fields.read_choice("primary_metric"),
            "analysis": fields.read_choice("analysis"),
        }
        more: dict[str, object] = {
            "secondary_metrics": fields.read_choices("secondary_metrics"),
            "guardrails": self._read_guardrails(),
            "targeting": self._read_targeting(),
            "layer": self._read_layer(),
            "holdout": fields.read_check("holdout"),
            "minimum_effect": fields.read_share("minimum_effect"),
            "planned_units": fields.read_whole_number("planned_units"),
        }
        kept = {name: self._values[name] for name in _KEPT if name in self._values}
        known = {name: value for name, value in more.items() if value}
        return {**kept, **values, **known, **self._more.read()}

    def _read_guardrails(self) -> list[dict[str, object]]:
        where = self._fields.name_field("guardrail_margin")
        return [
            {"metric": metric, "margin": round(read_number(margin, where) / 100, 8)}
            for metric, margin in self._guardrails.read()
        ]

    def _read_targeting(self) -> dict[str, object]:
        targeting: dict[str, object] = {}
        if zones := self._fields.read_choices("zones"):
            targeting["zones"] = zones
        visitors = self._fields.read_choice("visitors")
        if visitors != "any":
            targeting["visitors"] = visitors
        if attributes := self._more.read_attributes():
            targeting["attributes"] = attributes
        return targeting

    def _read_layer(self) -> dict[str, object] | None:
        name = self._fields.read_text("layer_name")
        if not name:
            return None
        start = self._fields.read_share("layer_start") or 0.0
        return {"name": name, "start": start, "end": self._fields.read_share("layer_end")}

    async def _save(self) -> None:
        visit, fields = self._visit, self._fields
        fields.clear_errors()
        self._problem.clear()
        key = self._key or fields.read_text("key")
        actions = ExperimentActions(self._server.decisions)
        try:
            for name in ("hypothesis",) if self._key else ("key", "hypothesis"):
                if not fields.read_text(name):
                    raise BadInput(
                        visit.texts.get("experiments.is_needed"), where=fields.name_field(name)
                    )
            values = self._read_values()
            if self._key is None:
                await visit.write(actions.define, visit.caller, key, values, "")
            else:
                new = NewVersion(key, values, fields.read_text("comment"), self._number)
                await visit.write(actions.change, visit.caller, new)
        except ShopwrightError as error:
            field: Field | None = fields.mark(error)
            with self._problem:
                show_error(visit, error)
            target = self._problem if field is None else field
            ui.run_javascript(f"getHtmlElement({target.id}).scrollIntoView({{block: 'center'}})")
            return
        ui.navigate.to(f"/experiments/{key}")
