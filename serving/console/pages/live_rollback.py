"""The way back from price changes: of one, a selection, a batch, or what began on a day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from nicegui import ui

from features.contracts.errors import BadInput, ShopwrightError
from serving.console.bulk_sheet import open_refusals
from serving.console.parts import ask, build_reason, notify_done, notify_problem, show_form
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.actions import DeskActions
from serving.price_desk.repository import Suggestion
from serving.price_desk.rollback import RollbackResult, RollbackSelection


class Rollbacks:
    """Restores prices for one person: asks before, and names afterwards what stays as it is.

    on_done   called after prices were restored
    """

    def __init__(self, visit: Visit, on_done: Callable[[], Awaitable[None]]) -> None:
        self._visit, self._on_done = visit, on_done
        self._actions = DeskActions(visit.server.price_desk)

    async def roll_back_one(self, suggestion: Suggestion) -> None:
        """Restore the price before a change."""
        visit, texts = self._visit, self._visit.texts
        price = texts.money(suggestion.current_price_minor, suggestion.currency)
        title = suggestion.title or suggestion.item_id
        reason = await ask(
            visit,
            texts.get("live.ask_roll_back", item=title),
            texts.get("live.restores", price=price),
            confirm=texts.get("live.roll_back"),
            reason=True,
        )
        if reason is None:
            return
        try:
            await visit.write(
                self._actions.roll_back, visit.caller, suggestion.price_id, reason or None
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, texts.get("live.rolled_back", item=title))
        await self._on_done()

    async def roll_back_batch(self, run: str) -> None:
        """Restore the prices before all changes of a batch, in every zone."""
        texts, selection = self._visit.texts, RollbackSelection(run_id=run)
        try:
            matched = await self._visit.read(self._actions.count_changes, selection)
        except ShopwrightError as error:
            notify_problem(self._visit, error)
            return
        await self._ask_and_roll_back(
            selection,
            matched,
            texts.get("live.ask_roll_back_batch", n=matched, run=run),
            texts.get("live.restores_batch"),
            texts.get("live.roll_back_batch"),
        )

    async def roll_back_chosen(self, chosen: Sequence[Suggestion]) -> None:
        """Restore the prices before some changes, the latest first."""
        texts = self._visit.texts
        latest_first = sorted(chosen, key=lambda one: one.effective_from, reverse=True)
        price_ids = tuple(one.price_id for one in latest_first if one.price_id is not None)
        await self._ask_and_roll_back(
            RollbackSelection(price_ids),
            len(price_ids),
            texts.get("live.ask_roll_back_chosen", n=len(price_ids)),
            texts.get("live.restores_many"),
            texts.get("live.roll_back"),
        )

    async def roll_back_day(self) -> None:
        """Ask for a day, and restore the prices before all that began on it in the zone."""
        visit, texts = self._visit, self._visit.texts
        result = await show_form(
            visit,
            texts.get("live.roll_back_day"),
            _DayForm(visit, self._actions).build,
            confirm=texts.get("live.roll_back"),
        )
        if result is not None:
            await self._report(result)

    async def _ask_and_roll_back(
        self,
        selection: RollbackSelection,
        matched: int,
        question: str,
        explanation: str,
        confirm: str,
    ) -> None:
        visit = self._visit
        reason = await ask(visit, question, explanation, confirm=confirm, reason=True)
        if reason is None:
            return
        try:
            result = await visit.write(
                self._actions.roll_back_many,
                visit.caller,
                selection,
                reason or None,
                expected_matched=matched,
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        await self._report(result)

    async def _report(self, result: RollbackResult) -> None:
        visit, texts = self._visit, self._visit.texts
        notify_done(visit, texts.get("live.rolled_back_many", n=len(result.restored)))
        with ui.context.client.content:  # what is shown anew closes the dialogs opened in it
            open_refusals(visit, result.refused, texts.get("live.price_change"))
        await self._on_done()


@dataclass(frozen=True)
class _Day:
    """A day as it was typed, the changes that began on it in the zone, and how many they are."""

    text: str
    selection: RollbackSelection
    matched: int


class _DayForm:
    """Which day, and how many prices began on it: what is rolled back is what was shown."""

    def __init__(self, visit: Visit, actions: DeskActions) -> None:
        self._visit, self._actions = visit, actions
        self._shown: _Day | None = None

    def build(self) -> Callable[[], Awaitable[RollbackResult]]:
        """Build the fields, and return what rolls back."""
        visit, texts = self._visit, self._visit.texts
        timezone = visit.server.settings.find_timezone(visit.zone)
        today = visit.server.clock.now().astimezone(ZoneInfo(timezone)).date()
        self._day = ui.input(texts.get("live.day", zone=visit.zone), value=today.isoformat())
        self._day.props("dense outlined type=date stack-label")
        count = Section(visit, self._read, self._show, skeleton_rows=1)
        self._day.on_value_change(count.refresh)
        ui.label(texts.get("live.restores_many"))
        self._reason = build_reason(visit)
        return self._roll_back

    def _read(self) -> _Day:
        text, zone = self._day.value or "", self._visit.zone
        since, until = self._actions.desk.read_day(text, zone)
        selection = RollbackSelection(since=since, until=until, zone=zone)
        return _Day(text, selection, self._actions.count_changes(selection))

    def _show(self, day: _Day) -> None:
        texts = self._visit.texts
        self._shown = day
        key = "live.ask_roll_back_day" if day.matched else "live.nothing_began"
        at = texts.day(day.selection.since)
        ui.label(texts.get(key, n=day.matched, day=at, zone=self._visit.zone)).classes("reason")

    async def _roll_back(self) -> RollbackResult:
        visit, day = self._visit, self._shown
        if day is None or day.text != self._day.value:
            raise BadInput(visit.texts.get("live.not_counted"))
        if not day.matched:
            raise BadInput(visit.texts.get("live.choose_day"))
        return await visit.write(
            self._actions.roll_back_many,
            visit.caller,
            day.selection,
            self._reason.value or None,
            expected_matched=day.matched,
        )
