"""Models: which version of each serves, how good the versions are, and a change of champion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from nicegui import ui

from features.contracts.errors import BadInput, ShopwrightError
from models.registry import CHALLENGER, CHAMPION, NAMES, Version
from serving.console.charts import Bar, show_bars
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    name_element,
    notify_done,
    notify_problem,
    show_badge,
    show_form,
    show_heading,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.models.service import Comparison, Promotion

_SCOPE = "models.manage"
_DIGITS = 4


def add_pages(console: Console) -> None:
    """Add the page of the models."""

    @console.page("/models", "models")
    def show_models(page: Page) -> None:
        _ModelsPage(page).build()


@dataclass(frozen=True)
class _Model:
    """The versions of one model, and the comparisons of the one that is looked at."""

    versions: list[Version]
    previous: Version | None
    shown: Version | None
    comparisons: list[Comparison]

    @property
    def champion(self) -> Version | None:
        return next((one for one in self.versions if CHAMPION in one.aliases), None)


class _ModelsPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._service = page.visit.server.models
        self._section: Section[_Model]

    @property
    def _name(self) -> str:
        name = self._visit.parameters.get("model", NAMES[0])
        return name if name in NAMES else NAMES[0]

    def build(self) -> None:
        """Show the choice of a model, its versions, and the metrics of one."""
        texts = self._visit.texts
        names = {name: texts.get(f"models.model_{name}") for name in NAMES}
        toggle = ui.toggle(names, value=self._name).props("no-caps").classes("tabs")
        name_element(toggle, texts.get("models.model"))
        toggle.on_value_change(lambda event: self._choose(model=event.value, version=None))
        self._section = Section(self._visit, self._load, self._show)

    async def _choose(self, **values: str | None) -> None:
        self._visit.set_parameters(**values)
        await self._section.refresh()

    def _load(self) -> _Model:
        versions = self._service.list_of_model(self._name)
        wanted = self._visit.parameters.get("version")
        shown = next((version for version in versions if version.version == wanted), None)
        shown = shown or next((one for one in versions if CHAMPION in one.aliases), None)
        shown = shown or next(iter(versions), None)
        comparisons = [] if shown is None else self._service.read_comparisons(shown)
        return _Model(versions, self._service.find_previous(self._name), shown, comparisons)

    def _show(self, model: _Model) -> None:
        texts = self._visit.texts
        self._page.set_title(self._write_title(model))
        self._show_actions(model)
        if not model.versions:
            show_empty(
                texts.get("models.empty"),
                texts.get("models.empty_text"),
                f"shopwright train {self._name}",
            )
            return
        self._show_versions(model)
        if model.shown is not None:
            self._show_figures(model.shown, model.comparisons)

    def _write_title(self, model: _Model) -> str:
        texts, champion = self._visit.texts, model.champion
        name = texts.get(f"models.model_{self._name}")
        if champion is None:
            return texts.get("models.title_none", model=name)
        first = next(iter(model.comparisons), None)
        if first is None or first.gain is None or model.shown is not champion:
            return texts.get("models.title", model=name, version=champion.version)
        key = "models.title_better" if first.gain >= 0 else "models.title_worse"
        return texts.get(
            key,
            model=name,
            version=champion.version,
            gain=texts.share(abs(first.gain), 0),
            baseline=first.strongest,
        )

    def _show_actions(self, model: _Model) -> None:
        self._page.actions.clear()
        if not self._visit.may(_SCOPE) or model.previous is None:
            return
        texts = self._visit.texts
        text = texts.get("models.rollback_to", version=model.previous.version)
        with self._page.actions:
            ui.button(text, icon="undo", on_click=partial(self._roll_back, model)).props("outline")

    def _show_versions(self, model: _Model) -> None:
        texts = self._visit.texts
        columns = [
            Column(texts.get("models.version"), partial(self._show_version, model)),
            Column(texts.get("models.state"), partial(self._show_state, model)),
            Column(texts.get("models.trained"), lambda one: texts.time(_read_created(one))),
            Column(texts.get("models.known_until"), self._write_known_until),
            Column(texts.get("models.metric"), self._write_metric, is_number=True),
            Column(texts.get("models.verdict"), self._show_verdict),
        ]
        if self._visit.may(_SCOPE):
            columns.append(Column(texts.get("models.actions"), self._show_promote))
        show_table(model.versions, columns, caption=texts.get("models.versions"))

    def _show_version(self, model: _Model, version: Version) -> None:
        button = ui.button(
            version.version, on_click=lambda: self._choose(version=version.version)
        ).props("flat dense")
        name_element(button, self._visit.texts.get("models.look_at", version=version.version))
        if version is model.shown:
            button.props("aria-pressed=true").classes("strong")

    def _show_state(self, model: _Model, version: Version) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("badges"):
            if CHAMPION in version.aliases:
                show_badge(texts.get("models.champion"), "better")
            if self._visit.server.served_models.serves(version):
                show_badge(texts.get("models.serves"))
            if CHALLENGER in version.aliases and CHAMPION not in version.aliases:
                show_badge(texts.get("models.challenger"))
            if model.previous is not None and version.version == model.previous.version:
                show_badge(texts.get("models.previous"))

    def _write_known_until(self, version: Version) -> str:
        until = version.tags.get("fitted_until") or version.tags.get("cut")
        return self._visit.texts.day(datetime.fromisoformat(until) if until else None)

    def _write_metric(self, version: Version) -> str:
        value = version.tags.get("primary")
        if value is None:
            return "–"
        written = self._visit.texts.number(float(value), _DIGITS)
        return f"{version.tags.get('metric', '')} {written}"

    def _show_verdict(self, version: Version) -> None:
        ui.label(version.tags.get("verdict", "–")).classes("muted wrap verdict")

    def _show_promote(self, version: Version) -> None:
        texts = self._visit.texts
        if CHAMPION not in version.aliases:
            button = ui.button(
                texts.get("models.promote"), on_click=partial(self._promote, version)
            )
            label = texts.get("models.promote_version", version=version.version)
            name_element(button.props("flat dense"), label)

    def _show_figures(self, version: Version, comparisons: list[Comparison]) -> None:
        texts = self._visit.texts
        show_heading(texts.get("models.figures", version=version.version))
        page = self._service.find_page(version)
        if page is not None:
            ui.link(texts.get("models.mlflow"), page, new_tab=True)
        if not comparisons:
            ui.label(texts.get("models.no_figures")).classes("muted")
            return
        with ui.element("div").classes("columns"):
            for comparison in comparisons:
                self._show_comparison(comparison)

    def _show_comparison(self, comparison: Comparison) -> None:
        texts = self._visit.texts
        bars = [
            Bar(texts.get("models.ours"), comparison.ours, True, comparison.ours_interval),
            *(
                Bar(name, value, interval=comparison.intervals.get(name))
                for name, value in comparison.baselines.items()
            ),
        ]
        sign = -1 if comparison.better == "higher" else 1
        bars.sort(key=lambda bar: sign * bar.value)
        with ui.element("div").classes("card"):
            show_heading(comparison.metric, level=3)
            said = [texts.get(f"models.{comparison.better}_is_better")]
            if comparison.gain is not None:
                key = "models.gain" if comparison.gain >= 0 else "models.loss"
                gain = texts.share(abs(comparison.gain))
                said.append(texts.get(key, gain=gain, baseline=comparison.strongest))
            if comparison.p_value is not None:
                said.append(_write_p_value(comparison.p_value))
            ui.label(" · ".join(said)).classes("muted")
            show_bars(self._visit, comparison.metric, bars, digits=_DIGITS)

    async def _promote(self, version: Version) -> None:
        texts = self._visit.texts
        await self._change(
            texts.get(
                "models.promote_question",
                version=version.version,
                model=texts.get(f"models.model_{version.name}"),
            ),
            texts.get("models.promote"),
            partial(self._service.promote, version.name, version.version),
        )

    async def _roll_back(self, model: _Model) -> None:
        texts, previous = self._visit.texts, model.previous
        assert previous is not None  # noqa: S101 (the button is there with one alone)
        await self._change(
            texts.get(
                "models.rollback_question",
                version=previous.version,
                model=texts.get(f"models.model_{previous.name}"),
            ),
            texts.get("models.rollback"),
            partial(self._service.rollback, previous.name),
        )

    async def _change(self, question: str, confirm: str, change: Callable[[], Promotion]) -> None:
        """Ask for a reason, change the champion, and offer the way back."""
        texts = self._visit.texts

        def build() -> Callable[[], Awaitable[Promotion]]:
            ui.label(texts.get("models.change_explanation"))
            reason = ui.input(texts.get("frame.reason")).props("outlined dense autofocus")

            async def save() -> Promotion:
                if not (reason.value or "").strip():
                    raise BadInput(texts.get("models.reason_needed"))
                return await self._visit.write_with(
                    _SCOPE, self._make_change, change, reason.value.strip()
                )

            return save

        promotion = await show_form(self._visit, question, build, confirm=confirm)
        if promotion is None:
            return
        text = texts.get("models.changed", version=promotion.champion.version)
        previous = promotion.previous
        undo = None if previous is None else partial(self._undo, previous)
        notify_done(self._visit, text, undo)
        await self._section.refresh()

    async def _undo(self, version: Version) -> None:
        reason = self._visit.texts.get("models.undone")
        change = partial(self._service.promote, version.name, version.version)
        try:
            await self._visit.write_with(_SCOPE, self._make_change, change, reason)
        except ShopwrightError as error:
            notify_problem(self._visit, error)
            return
        await self._section.refresh()

    def _make_change(self, change: Callable[[], Promotion], reason: str) -> Promotion:
        """Change the champion, write that to the audit log, and serve it here at once."""
        promotion = change()
        self._service.write(promotion, actor=self._visit.caller.id, reason=reason)
        self._visit.server.served_models.refresh()
        return promotion


def _read_created(version: Version) -> datetime:
    return datetime.fromtimestamp(version.created_at_seconds, UTC)


def _write_p_value(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
