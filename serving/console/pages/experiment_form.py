"""A new experiment: what is compared, on whom, by which metrics, and how long will it take?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from nicegui import ui

from experiments.definition import EVERY_PLACEMENT, Analysis, Experiment, UnitKind
from features.contracts.errors import BadInput, ShopwrightError
from models.registry import NAMES, Version
from serving.console.frame import Console, Page
from serving.console.pages.experiment_form_fields import Field, FormFields
from serving.console.pages.experiment_power import PowerPanel
from serving.console.pages.experiment_variants import VariantCards
from serving.console.pages.experiment_words import name_metric
from serving.console.pages.slate_rule_words import name_placement
from serving.console.parts import show_heading
from serving.console.section import show_error
from serving.experiments.actions import ExperimentActions
from serving.experiments.definitions import build_experiment

_VISITORS = ("any", "new", "known")


def add_pages(console: Console) -> None:
    """Add the form of a new experiment."""

    @console.page("/experiments/new", "experiments", ExperimentActions.scope)
    async def new_experiment(page: Page) -> None:
        await _ExperimentForm(page).build()


class _ExperimentForm:
    """The form as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._server = page.visit.server
        self._fields = FormFields(page.visit, self._follow)
        self._variants: VariantCards
        self._power: PowerPanel

    async def build(self) -> None:
        """Build the parts of the definition, the power beside them, and the way to save."""
        visit, texts = self._visit, self._visit.texts
        versions = await visit.read(self._server.models.list_of_model, NAMES[0])
        self._page.set_title(texts.get("experiments.title_new"))
        with ui.element("div").classes("form-and-side"):
            with ui.element("div").classes("form"):
                with ui.element("div").classes("form-columns"):
                    self._build_question()
                    self._build_metrics()
                    self._build_units()
                self._build_variants(versions)
            with ui.element("aside").classes("card side-panel"):
                self._power = PowerPanel(visit, self._read_experiment, self._plan_units)
        self._problem = ui.element("div").classes("section scroll-target")
        self._problem.props("aria-live=assertive")
        with ui.element("div").classes("filters trial"):
            ui.button(texts.get("experiments.save"), on_click=self._save).props("unelevated")
            ui.label(texts.get("experiments.save_hint")).classes("muted")

    def _build_question(self) -> None:
        texts, fields = self._visit.texts, self._fields
        placements = {EVERY_PLACEMENT: texts.get("experiments.every_placement")}
        placements |= {
            name: name_placement(self._visit, name)
            for name in self._server.served_models.placements
        }
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.question"))
            fields.add_text("key").props("autofocus").tooltip(texts.get("experiments.key_hint"))
            fields.add_text("hypothesis").props("type=textarea autogrow")
            fields.add_choice("placements", placements, ["home"], multiple=True)
            fields.add_check("holdout", texts.get("experiments.is_holdout"))

    def _build_metrics(self) -> None:
        visit, texts, fields = self._visit, self._visit.texts, self._fields
        names = {name: name_metric(visit, name) for name in self._server.experiments.metrics}
        analyses = {
            name: texts.get(f"experiments.analysis_{name}", n=5) for name in get_args(Analysis)
        }
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.metrics"))
            fields.add_choice("primary_metric", names, "purchase_conversion")
            fields.add_text("minimum_effect", "3").props("inputmode=decimal")
            fields.add_choice("analysis", analyses, "fixed")
            fields.add_text("planned_units").props("inputmode=numeric")
            fields.add_choice("secondary_metrics", names, [], multiple=True)
            fields.add_choice("guardrails", names, [], multiple=True)
            fields.add_text("guardrail_margin", "5").props("inputmode=decimal")

    def _build_units(self) -> None:
        texts, fields = self._visit.texts, self._fields
        units = {name: texts.get(f"experiments.unit_{name}") for name in get_args(UnitKind)}
        visitors = {name: texts.get(f"experiments.visitors_{name}") for name in _VISITORS}
        with ui.element("section").classes("card form"):
            show_heading(texts.get("experiments.targeting"))
            fields.add_choice("unit", units, "user")
            fields.add_text("coverage", "100").props("inputmode=decimal")
            fields.add_choice("visitors", visitors, "any")
            zones = {zone: zone for zone in self._visit.zones}
            fields.add_choice("zones", zones, [], multiple=True)
            fields.add_text("layer_name")
            with ui.element("div").classes("pair"):
                fields.add_text("layer_start", "0").props("inputmode=decimal")
                fields.add_text("layer_end", "100").props("inputmode=decimal")

    def _build_variants(self, versions: Sequence[Version]) -> None:
        show_heading(self._visit.texts.get("experiments.variants"))
        ui.label(self._visit.texts.get("experiments.about_variants")).classes("muted")
        rule_sets = [one.name for one in self._server.merchandising.list_rules()]
        self._variants = VariantCards(self._visit, versions, rule_sets, self._follow)

    async def _follow(self) -> None:
        """Let the power follow the form."""
        await self._power.refresh()

    def _plan_units(self, n_units: int) -> None:
        """Take over the units that the power calculation names."""
        self._fields.set_text("planned_units", str(n_units))

    def _read_experiment(self) -> Experiment:
        """Return what the form says, as far as the power depends on it. Raises BadInput."""
        values = self._read_values()
        values["hypothesis"] = ""
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
        secondary = fields.read_choices("secondary_metrics")
        margin = fields.read_share("guardrail_margin")
        guardrails = [
            {"metric": name, "margin": margin} for name in fields.read_choices("guardrails")
        ]
        more: dict[str, object] = {
            "secondary_metrics": secondary,
            "guardrails": guardrails,
            "targeting": self._read_targeting(),
            "layer": self._read_layer(),
            "holdout": fields.read_check("holdout"),
            "minimum_effect": fields.read_share("minimum_effect"),
            "planned_units": fields.read_whole_number("planned_units"),
        }
        return values | {name: value for name, value in more.items() if value}

    def _read_targeting(self) -> dict[str, object]:
        zones = self._fields.read_choices("zones")
        visitors = self._fields.read_choice("visitors")
        targeting: dict[str, object] = {"zones": zones} if zones else {}
        return targeting if visitors == "any" else targeting | {"visitors": visitors}

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
        key = fields.read_text("key")
        try:
            for name in ("key", "hypothesis"):
                if not fields.read_text(name):
                    raise BadInput(
                        visit.texts.get("experiments.is_needed"), where=fields.name_field(name)
                    )
            define = ExperimentActions(self._server.decisions).define
            await visit.write(define, visit.caller, key, self._read_values(), "")
        except ShopwrightError as error:
            field: Field | None = fields.mark(error)
            with self._problem:
                show_error(visit, error)
            target = self._problem if field is None else field
            ui.run_javascript(f"getHtmlElement({target.id}).scrollIntoView({{block: 'center'}})")
            return
        ui.navigate.to(f"/experiments/{key}")
