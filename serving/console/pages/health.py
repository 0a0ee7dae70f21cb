"""Health: which parts of the shop are up, slow or down, and since when."""

from __future__ import annotations

from nicegui import ui

from serving.console.effect_parts import add_warnings
from serving.console.frame import Console, Page
from serving.console.parts import Column, show_badge, show_heading, show_notice, show_table
from serving.console.section import Section
from serving.part_health import HealthService, PartHealth

_TONES = {"up": "better", "slow": "warn", "down": "worse", "unused": ""}
_SIGNS = {"up": "●", "slow": "▲", "down": "✕", "unused": "○"}
_WORST_FIRST = ("down", "slow", "up", "unused")
_REFRESH_SECONDS = 15.0


def add_pages(console: Console) -> None:
    """Add the page of the parts."""
    health = HealthService(console.server)

    @console.page("/health", "health")
    def show_health(page: Page) -> None:
        _HealthPage(page, health).build()


class _HealthPage:
    """The page as one person has it open."""

    def __init__(self, page: Page, health: HealthService) -> None:
        self._page, self._visit, self._health = page, page.visit, health
        self._section: Section[list[PartHealth]]

    def build(self) -> None:
        """Show the parts, and look again every few seconds."""
        visit = self._visit
        add_warnings(visit)
        self._section = Section(visit, self._health.inspect, self._show)
        ui.timer(_REFRESH_SECONDS, self._section.refresh, immediate=False)

    def _show(self, parts: list[PartHealth]) -> None:
        texts = self._visit.texts
        counts = {state: sum(part.state == state for part in parts) for state in _WORST_FIRST}
        said = [
            texts.get(f"health.title_{state}", n=counts[state])
            for state in ("up", "slow", "down")
            if counts[state] or state == "up"
        ]
        self._page.set_title(texts.get("health.comma").join(said))
        if counts["down"]:
            show_notice(texts.get("health.try_doctor"))
        rows = sorted(parts, key=lambda part: _WORST_FIRST.index(part.state))
        columns = [
            Column(texts.get("health.part"), self._name_part),
            Column(texts.get("health.state"), self._show_state),
            Column(texts.get("health.since"), self._describe_since),
            Column(texts.get("health.measured"), self._show_measured),
        ]
        show_table(rows, columns, caption=texts.get("health.name"))
        ui.label(texts.get("health.note")).classes("muted")
        self._show_readiness()

    def _show_readiness(self) -> None:
        """Show what the shop answers now, as /readyz does for balancers."""
        texts, server = self._visit.texts, self._visit.server
        show_heading(texts.get("health.answers"))
        served = server.offer.list_served()
        with ui.element("div").classes("badges"):
            for name in ("recommendations", "forecasts", "prices"):
                is_served = name in served
                word = "health.answered" if is_served else "health.not_answered"
                text = texts.get(word, part=texts.get(f"health.part_{name}"))
                show_badge(text, "better" if is_served else "")
        for reason in server.readiness.unused().values():
            ui.label(reason).classes("muted")

    def _name_part(self, part: PartHealth) -> str:
        return self._visit.texts.find(f"health.part_{part.part}", part.part)

    def _show_state(self, part: PartHealth) -> None:
        word = self._visit.texts.get(f"health.state_{part.state}")
        show_badge(f"{_SIGNS[part.state]} {word}", _TONES[part.state])

    def _describe_since(self, part: PartHealth) -> str:
        if part.since is None or part.state == "unused":
            return "–"
        texts = self._visit.texts
        return texts.ago(part.since, self._visit.server.system_clock.now())

    def _show_measured(self, part: PartHealth) -> None:
        texts, server = self._visit.texts, self._visit.server
        said = []
        if part.seconds is not None:
            said.append(texts.get("health.answers_in", n=round(part.seconds * 1000)))
        if part.version is not None:
            said.append(texts.get("health.version", version=part.version))
        if part.count is not None:
            said.append(texts.get("health.events_waiting", n=part.count))
        if part.part == "features" and part.at is not None:
            age = texts.ago(part.at, server.clock.now())
            said.append(texts.get("health.features_of", at=texts.time(part.at), age=age))
        elif part.part == "clock" and part.at is not None:
            said.append(texts.get("health.business_time", at=texts.time(part.at)))
        elif part.at is not None:
            age = texts.ago(part.at, server.system_clock.now())
            said.append(texts.get("health.last_one", at=texts.time(part.at), age=age))
        hint = texts.find(f"health.hint_{part.part}_{part.state}", "")
        if hint:
            said.append(hint)
        if said:
            ui.label(texts.get("health.comma").join(said))
        if part.reason:
            ui.label(part.reason).classes("muted wrap")
