"""Losses of regions: of what several axes make, by probabilities or by logits."""

from __future__ import annotations

from typing import Any, ParamSpec

from tinyloss._engine.job import Answer, Job
from tinyloss._engine.regions import job_of_regions, run_regions
from tinyloss._engine.request import Regions, Want
from tinyloss._function import AnsweringFunction
from tinyloss._traits import Traits

P = ParamSpec("P")


class RegionFunction(AnsweringFunction[P]):
    """A loss of regions: the request that its description returns has `Regions` for x."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return run_regions(self.request(args, kwargs), want)

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the job that answers a call, for its probabilities."""
        return [job_of_regions(self.request(args, kwargs), want)]

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss, by logits where it takes these."""
        known = super().traits(**parameters)
        regions: Regions = self._described(parameters).x
        if regions.activation is None:
            return known
        # Whatever has ends for all real numbers, and is not the same for all, bends downwards.
        return Traits(convex=False, strong_convexity=0.0, range=known.range)


class OrderedRegionFunction(RegionFunction[P]):
    """A loss of regions whose pixels are put in an order."""


class ImageFunction(RegionFunction[P]):
    """A loss of regions whose items are images, of all their classes."""
