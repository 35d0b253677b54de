"""Log-probabilities of sequences: sums, or means, of those of their tokens."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any, ParamSpec

from tinyloss._arrays import astype, compute_dtype, namespace
from tinyloss._engine import registry
from tinyloss._engine.checks import brought
from tinyloss._engine.job import Answer, Job
from tinyloss._engine.request import Refusal, Request, Want
from tinyloss._engine.run import job_of, run
from tinyloss._function import AnsweringFunction
from tinyloss._traits import Traits

P = ParamSpec("P")


class TokensFunction(AnsweringFunction[P]):
    """A function of tokens, which are items, whose result is one number for each sequence.

    The request that its description returns says by its reduction how tokens are put together, and
    by its weight what sequences weigh.
    """

    def ask(self, want: Want, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the parts of the answer that are wanted."""
        if want.over is not None:
            raise TypeError(
                f"tinyloss.{self.__name__}: has a number for each sequence, and a reduction of its "
                "tokens, expected weight= and a sum of the result over an axis"
            )
        answer = run(self._of_tokens(args, kwargs), want)
        if answer.value is None:
            return answer
        xp = namespace(answer.value)
        with registry.quiet(xp):
            return answer._replace(value=xp.sum(answer.value, axis=-1))

    def jobs(self, want: Want, /, *args: Any, **kwargs: Any) -> list[Job]:
        """Return the job that answers for the tokens."""
        return [job_of(self._of_tokens(args, kwargs), want)]

    def traits(self, **parameters: Any) -> Traits:
        """Return what is known of a sequence's, as a function of the logits of all its tokens."""
        known = super().traits(**parameters)
        if self._described(parameters).reduction == "mean":
            return known  # of one token, or less
        # Slopes of several tokens are orthogonal: that of t of them is the root of t times as long.
        return replace(known, lipschitz=inf)

    def _of_tokens(self, args: Any, kwargs: Any) -> Request:
        """Return a request for each token's share of its sequence."""
        request = self.request(args, kwargs)
        try:
            weight = _shares(request)
        except Refusal as refusal:
            raise refusal.of(request.name) from None
        return request._replace(weight=weight, reduction="none")


def _shares(request: Request) -> Any:
    """Return the weight of each token."""
    if request.reduction not in ("sum", "mean"):
        raise Refusal(f'reduction is {request.reduction!r}, expected "sum" or "mean"')
    try:
        xp = namespace(request.x)
    except TypeError as error:
        raise Refusal(f"x: {error}", TypeError) from None
    with registry.quiet(xp):
        y = brought(xp, request.x, "y", request.y)
        if not y.shape:
            raise Refusal("y is 0-d, expected at least the axis of the tokens")
        weight = (
            None if request.weight is None else brought(xp, request.x, "weight", request.weight)
        )
        if weight is not None and weight.shape:
            weight = weight[..., None]
        if request.reduction == "sum":
            return weight
        counts = y == y
        if request.where is not None:
            where = brought(xp, request.x, "where", request.where)
            counts = counts & xp.astype(where, xp.bool)
        if request.ignore_index is not None:
            counts = counts & (y != request.ignore_index)
        count = xp.sum(astype(xp, counts, compute_dtype(xp, request.x)), axis=-1, keepdims=True)
        share = 1 / xp.where(count == 0, 1.0, count)
        return share if weight is None else weight * share
