"""Workers of the price desk that do their tasks at once, or never."""

from __future__ import annotations

from serving.price_desk.scenario_worker import ScenarioWorker


class AtOnce(ScenarioWorker):
    """Does the work where it is submitted."""

    def submit(self, task):
        task()


class Never(ScenarioWorker):
    """Does no work."""

    def submit(self, task):
        pass
