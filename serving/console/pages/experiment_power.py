"""The power of the experiment that a form describes: units, days, and what shorter runs can see."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nicegui import ui

from experiments.definition import Experiment
from features.contracts.errors import ShopwrightError
from serving.console.pages.experiment_words import name_metric
from serving.console.parts import Column, show_heading, show_measure, show_table
from serving.console.section import show_skeleton
from serving.console.visit import Visit
from serving.experiments.planning import PowerPlan


class PowerPanel:
    """The panel beside a form.

    read_experiment   returns what the form says; raises BadInput while it says nothing that runs
    take_units        writes the units into the form
    """

    def __init__(
        self,
        visit: Visit,
        read_experiment: Callable[[], Experiment],
        take_units: Callable[[int], None],
    ) -> None:
        self._visit, self._read_experiment, self._take_units = visit, read_experiment, take_units
        self._planned: Experiment | None = None
        show_heading(visit.texts.get("experiments.power"))
        self._area = ui.element("div").classes("section").props("aria-live=polite aria-busy=true")
        with self._area:
            show_skeleton(4, visit.texts.get("frame.loading"))
        ui.timer(0, self.refresh, once=True)

    async def refresh(self) -> None:
        """Plan anew, where the form says something else than before."""
        try:
            experiment = self._read_experiment()
        except ShopwrightError as error:
            self._planned = None
            self._fill(partial(self._show_problem, error))
            return
        if experiment == self._planned:
            return
        self._planned = experiment
        try:
            plan = await self._visit.read(self._visit.server.experiments.plan, experiment)
        except ShopwrightError as error:
            build = partial(self._show_problem, error)
        else:
            build = partial(self._show, plan)
        if experiment is self._planned:  # else the form changed meanwhile
            self._fill(build)

    def _show_problem(self, error: ShopwrightError) -> None:
        text = " · ".join(part for part in (error.what, error.hint) if part)
        ui.label(self._visit.texts.get("experiments.no_plan", why=text))

    def _fill(self, build: Callable[[], None]) -> None:
        self._area.clear()
        self._area.props("aria-busy=false")
        with self._area:
            build()

    def _show(self, plan: PowerPlan) -> None:
        texts = self._visit.texts
        days = texts.get("experiments.never")
        if plan.days is not None:
            days = texts.get("experiments.about_days", n=plan.days)
        effect = texts.share(plan.minimum_effect)
        note = texts.get(
            "experiments.to_see", effect=effect, metric=name_metric(self._visit, plan.metric)
        )
        show_measure(texts.get("experiments.at_present_traffic"), days, note)
        show_measure(
            texts.get("experiments.needed"),
            texts.get("experiments.n_units", n=plan.units),
            texts.get("experiments.come_a_day", n=round(plan.units_per_day)),
        )
        take = ui.button(
            texts.get("experiments.take_units"), on_click=lambda: self._take_units(plan.units)
        )
        take.props("flat dense")
        columns = [
            Column(
                texts.get("experiments.runs_for"),
                lambda item: texts.get("experiments.days", n=item[0]),
            ),
            Column(
                texts.get("experiments.shows"), lambda item: texts.share(item[1]), is_number=True
            ),
        ]
        caption = texts.get("experiments.shorter")
        ui.label(caption).classes("muted")
        show_table(plan.detectable.items(), columns, caption=caption)
        explained = texts.share(plan.explained_share, 0)
        ui.label(texts.get("experiments.plan_basis", explained=explained)).classes("muted")
