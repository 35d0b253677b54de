"""Losses of sequences, whose targets are other sequences."""

from __future__ import annotations

from typing import Any, ParamSpec

from tinyloss._engine.job import Answer, Job
from tinyloss._engine.request import Sequences, Want
from tinyloss._engine.sequences import job_of_sequences, run_sequences
from tinyloss._function import AnsweringFunction
from tinyloss._traits import Traits

P = ParamSpec("P")


class SequenceFunction(AnsweringFunction[P]):
    """A loss of sequences: the request that its description returns has `Sequences` for x."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        return run_sequences(self.request(args, kwargs), want)

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the job that puts the losses of the sequences together."""
        return [job_of_sequences(self.request(args, kwargs), want)]

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of the loss, for sequences of any lengths."""
        super().traits(**parameters)  # refuses what a call refuses
        sequences: Sequences = self._described(parameters).x
        return sequences.formula.traits()
