"""Losses of rows whose classes come a part at a time, each looked at twice.

The first look at a part joins what it shows of each row to what is known: running sums, each in
units of a running maximum. The second, when all parts have been seen, gives the part's gradient. So
none is made with a maximum that later changes. Both are jobs, answered as any are.
"""

from dataclasses import replace
from typing import Any

from tinyloss._arrays import beside
from tinyloss._engine.job import Argument, Job, Kind, poisoned
from tinyloss._engine.run import answer_of
from tinyloss._formula import Formula, InParts


class Parts:
    """A job's rows, whose classes have been seen in part."""

    def __init__(self, job: Job, classes: int, items: int, like: Any) -> None:
        self._xp = xp = job.xp
        self._job, self._y, self._dtype = job, job.arrays["y"], job.kind.dtype
        found = job.kind.formula.in_parts
        assert found is not None
        self._formulas: InParts = found
        weight, domain = job.weight, job.kind.unchecked
        if domain is not None:
            kind = replace(job.kind, classes=classes)
            weight = poisoned(kind, domain, {"x": like, "y": self._y}, weight)
        self._weight = None if weight is None else xp.broadcast_to(weight, (items,))
        place = beside(like)
        self._known = tuple(
            [xp.full((items,), start, dtype=self._dtype, **place) for start in found.start]
        )
        self._numbers: dict[str, Any] | None = None

    def look(self, x: Any, first: int) -> None:
        """Look at the scores of all rows for some classes, from the one of index `first` on."""
        seen = [
            answer_of(self._part(formula, x, first, reduce=False)).value
            for formula in self._formulas.shown
        ]
        self._known = self._formulas.joined(self._known, seen)

    def value(self, dtype: Any) -> Any:
        """Return the rows' losses times their weights, summed and divided if they are reduced."""
        xp, weight, divisor = self._xp, self._weight, self._job.divisor
        value = self._formulas.loss(*self._known)
        if weight is not None:
            value = xp.where(weight == 0, 0.0, value * weight)
        if not self._job.kind.reduce:
            return xp.astype(value, dtype)
        value = xp.sum(value, dtype=dtype)
        return value if divisor is None else value / divisor

    def grad(self, x: Any, first: int, into: Any) -> None:
        """Write the gradient of the loss by the scores for some classes, maybe in their place."""
        if self._numbers is None:
            self._numbers = self._formulas.numbers(*self._known)
        whole = self._job.kind
        job = self._part(
            self._formulas.slope, x, first, value=False, grads=("x",), divided=whole.divided
        )
        arrays = {**job.arrays, **self._numbers}
        weighted = replace(job.kind, weighted=self._weight is not None)
        answer_of(Job(weighted, self._xp, arrays, self._weight, self._job.divisor, out=(into,)))

    def _part(self, formula: type[Formula], x: Any, first: int, **changes: Any) -> Job:
        """Return a job of a formula of rows, for some classes."""
        y = self._y - first if first else self._y
        arrays = {"x": x, "y": y}
        numbers = {} if self._numbers is None else self._numbers
        arguments = [
            Argument(name, each.dtype, formula.role(name))
            for name, each in {**arrays, **numbers}.items()
        ]
        kind = Kind(formula, tuple(arguments), self._dtype, **changes)
        return Job(kind, self._xp, arrays)
