"""Losses of lists: of rows whose elements count as many, or have an order."""

from __future__ import annotations  # torch.compile trips over `P.args`, new each time

from collections.abc import Mapping, Sequence
from typing import Any, ParamSpec

from tinyloss._engine.job import Answer
from tinyloss._engine.lists import spelled
from tinyloss._engine.request import Refusal, Request, Want, refuse_second
from tinyloss._engine.run import run
from tinyloss._function import AnsweringFunction

P = ParamSpec("P")


class ListFunction(AnsweringFunction[P]):
    """A loss of lists, which count as the request that its description returns says."""

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        try:
            refuse_second(want)
        except Refusal as refusal:
            raise refusal.of(self.__name__) from None
        return run(self.request(args, kwargs), want)

    def request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
        """Return what a call asks, its parameters checked."""
        request = super().request(args, kwargs)
        # of no arrays it is only to be checked
        return request if request.x is None else spelled(request)
