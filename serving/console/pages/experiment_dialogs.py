"""What can be done with an experiment in its state: start, more units, stop, decide, look at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from experiments.definition import Experiment
from features.contracts.errors import BadInput, Conflict, ShopwrightError
from serving.console.parts import (
    ask,
    notify_done,
    notify_problem,
    read_number,
    show_form,
    show_secret,
)
from serving.console.visit import Visit
from serving.experiments.actions import Decision, ExperimentActions

_OVERRIDE_DAYS = 7


@dataclass
class ExperimentDialogs:
    """The buttons of one experiment; `refresh` shows its page again."""

    visit: Visit
    key: str
    refresh: Callable[[], Awaitable[None]]

    def __post_init__(self) -> None:
        self._actions = ExperimentActions(self.visit.server.decisions)

    def build(self, experiment: Experiment) -> None:
        """Build the buttons that the state of the experiment allows."""
        if experiment.status == "running":
            self._add("raise", partial(self._raise_coverage, experiment))
            self._add("override", partial(self._make_override, experiment))
            self._add("stop", self._stop)
        if experiment.status == "stopped":
            self._add("start_again", self._start)
            self._add("decide", partial(self._decide, experiment), is_main=True)
        if experiment.status == "draft":
            ui.link(
                self.visit.texts.get("experiments.edit"), f"/experiments/{self.key}/edit"
            ).classes("link-button")
            self._add("override", partial(self._make_override, experiment))
            self._add("start", self._start, is_main=True)

    def _add(
        self, name: str, on_click: Callable[[], Awaitable[None]], *, is_main: bool = False
    ) -> None:
        button = ui.button(self.visit.texts.get(f"experiments.{name}"), on_click=on_click)
        button.props("unelevated" if is_main else "outline")

    async def _start(self) -> None:
        visit, texts = self.visit, self.visit.texts
        explanation, accept_worse = texts.get("experiments.about_start"), False
        confirm = texts.get("experiments.start")
        try:
            await visit.read(visit.server.experiments.refuse_worse_arms, self.key)
        except Conflict as error:
            warning = texts.get("experiments.worse_arm", what=error.what)
            explanation, accept_worse = f"{warning} {explanation}", True
            confirm = texts.get("experiments.start_all_the_same")
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        question = texts.get("experiments.ask_start", name=self.key)
        if await ask(visit, question, explanation, confirm=confirm) is None:
            return
        await self._write(
            "started", self._actions.start, visit.caller, self.key, accept_worse=accept_worse
        )

    async def _stop(self) -> None:
        visit, texts = self.visit, self.visit.texts
        reason = await ask(
            visit,
            texts.get("experiments.ask_stop", name=self.key),
            texts.get("experiments.about_stop"),
            confirm=texts.get("experiments.stop"),
            reason=True,
        )
        if reason is not None:
            await self._write(
                "stopped_now", self._actions.stop, visit.caller, self.key, reason or None
            )

    async def _write(
        self, done: str, function: Callable[..., None], *values: object, **named: object
    ) -> None:
        try:
            await self.visit.write(function, *values, **named)
        except ShopwrightError as error:
            notify_problem(self.visit, error)
            return
        notify_done(self.visit, self.visit.texts.get(f"experiments.done_{done}", name=self.key))
        await self.refresh()

    async def _raise_coverage(self, experiment: Experiment) -> None:
        visit, texts = self.visit, self.visit.texts
        now = experiment.coverage

        def build() -> Callable[[], Awaitable[bool]]:
            ui.label(texts.get("experiments.about_raise", share=texts.share(now, 0)))
            label = texts.get("experiments.coverage_percent")
            field = ui.input(label).props("outlined dense autofocus inputmode=decimal")
            comment = ui.input(texts.get("frame.reason")).props("outlined dense")

            async def save() -> bool:
                coverage = read_number(field.value or "", label) / 100
                if coverage <= now:
                    raise BadInput(texts.get("experiments.only_rises"), where=label)
                raise_coverage, caller = self._actions.raise_coverage, visit.caller
                text = comment.value or ""
                await visit.write(raise_coverage, caller, self.key, coverage, text)
                return True

            return save

        if await show_form(
            visit, texts.get("experiments.raise"), build, confirm=texts.get("experiments.raise")
        ):
            notify_done(visit, texts.get("experiments.done_raised", name=self.key))
            await self.refresh()

    async def _decide(self, experiment: Experiment) -> None:
        visit, texts = self.visit, self.visit.texts

        def build() -> Callable[[], Awaitable[bool]]:
            ui.label(texts.get("experiments.about_decide"))
            variant = self._choose_variant(experiment, experiment.control)
            ship = ui.checkbox(texts.get("experiments.ship"))
            ui.label(texts.get("experiments.about_ship")).classes("muted")
            comment = ui.input(texts.get("experiments.decided_comment")).props("outlined dense")

            async def save() -> bool:
                decision = Decision(variant.value, bool(ship.value), comment.value or "")
                await visit.write(self._actions.decide, visit.caller, self.key, decision)
                await visit.read(visit.server.served_models.refresh)
                return True

            return save

        if await show_form(
            visit,
            texts.get("experiments.ask_decide", name=self.key),
            build,
            confirm=texts.get("experiments.decide"),
        ):
            notify_done(visit, texts.get("experiments.done_decided", name=self.key))
            await self.refresh()

    async def _make_override(self, experiment: Experiment) -> None:
        visit, texts = self.visit, self.visit.texts

        def build() -> Callable[[], Awaitable[str]]:
            ui.label(texts.get("experiments.about_override"))
            others = [one.name for one in experiment.variants if one.name != experiment.control]
            variant = self._choose_variant(experiment, others[0])
            label = texts.get("experiments.valid_days")
            days = ui.input(label, value=str(_OVERRIDE_DAYS)).props("outlined dense")

            async def save() -> str:
                n_days = read_number(days.value or "", label)
                if not 0 < n_days <= 90:
                    raise BadInput(texts.get("experiments.days_range"), where=label)
                make, caller = self._actions.make_override, visit.caller
                return await visit.write(make, caller, self.key, variant.value, n_days)

            return save

        heading = texts.get("experiments.override")
        token = await show_form(visit, heading, build, confirm=texts.get("experiments.make_token"))
        if token is not None:
            await show_secret(visit, heading, texts.get("experiments.token_hint"), token)

    def _choose_variant(self, experiment: Experiment, value: str) -> ui.select:
        names = [variant.name for variant in experiment.variants]
        label = self.visit.texts.get("experiments.variant")
        return ui.select(names, value=value, label=label).props("outlined dense")
