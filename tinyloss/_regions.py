"""Losses of regions: of what several axes make, by probabilities or by logits."""

from __future__ import annotations

from typing import Any, ParamSpec

from tinyloss._engine.job import Answer, Job
from tinyloss._engine.regions import job_of_regions, run_regions
from tinyloss._engine.request import Want
from tinyloss._function import AnsweringFunction

P = ParamSpec("P")


class RegionFunction(AnsweringFunction[P]):
    """A loss of regions: the request that its description returns has `Regions` for x."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return run_regions(self.request(args, kwargs), want)

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the job that answers a call, for its probabilities."""
        return [job_of_regions(self.request(args, kwargs), want)]


class OrderedRegionFunction(RegionFunction[P]):
    """A loss of regions whose pixels are put in an order."""


class ImageFunction(RegionFunction[P]):
    """A loss of regions whose items are images, of all their classes."""
