"""Losses of rows whose classes come a part at a time, each looked at twice.

The first look at a part joins what it shows of each row to what is known: running sums, each in
units of a running maximum. The second, when all parts have been seen, gives the part's gradient. So
none is made with a maximum that later changes. Both are jobs, answered as any are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tinyloss._arrays import beside
from tinyloss._engine.job import Argument, Job, Kind, poisoned, replaced
from tinyloss._engine.run import answer_of
from tinyloss._formula import ITEM, Formula, InParts


class Parts:
    """A job's rows, whose classes have been seen in part."""

    def __init__(self, job: Job, classes: int, items: int, like: Any) -> None:
        self._xp = xp = job.xp
        self._job, self._y, self._dtype = job, job.arrays["y"], job.kind.dtype
        made = job.kind.formula.in_parts
        assert made is not None
        self._more = {
            name: job.arrays[name]
            for name, _, role in job.kind.arguments
            if name not in ("x", "y") and not role.per_item
        }
        self._formulas: InParts = made(**job.kind.static, **job.numbers, **self._more)
        weight, domain = job.weight, job.kind.unchecked
        if domain is not None:
            kind = replace(job.kind, classes=classes)
            weight = poisoned(kind, domain, {"x": like, "y": self._y}, weight)
        self._weight = None if weight is None else xp.broadcast_to(weight, (items,))
        place = beside(like)
        self.known = tuple(
            [xp.full((items,), start, dtype=self._dtype, **place) for start in self._formulas.start]
        )
        """What has been seen of each row."""
        self._numbers: dict[str, Any] | None = None

    def look(self, x: Any, first: int) -> None:
        """Look at the scores of all rows for some classes, from the one of index `first` on."""
        seen = [
            answer_of(self._part(formula, x, first, reduce=False)).value
            for formula in self._formulas.shown
        ]
        self.join(seen)

    def join(self, seen: Sequence[Any]) -> None:
        """Add what other parts showed."""
        self.known = self._formulas.joined(self.known, seen)

    def value(self, dtype: Any) -> Any:
        """Return the rows' losses times their weights, summed and divided if they are reduced."""
        xp, weight, divisor = self._xp, self._weight, self._job.divisor
        value = self._formulas.loss(*self.known)
        if weight is not None:
            value = xp.where(weight == 0, 0.0, value * weight)
        if not self._job.kind.reduce:
            return xp.astype(value, dtype)
        value = xp.sum(value, dtype=dtype)
        return value if divisor is None else value / divisor

    def grad(self, x: Any, first: int, into: Any) -> None:
        """Write the gradient of the loss by the scores for some classes, maybe in their place."""
        if self._numbers is None:
            self._numbers = self._formulas.numbers(*self.known)
        whole = self._job.kind
        job = self._part(
            self._formulas.slope, x, first, value=False, grads=("x",), divided=whole.divided
        )
        weight, divisor = self._weight, self._job.divisor
        weighted = weight is not None
        answer_of(replaced(job, weighted=weighted, weight=weight, divisor=divisor, out=(into,)))

    def _part(self, formula: type[Formula], x: Any, first: int, **changes: Any) -> Job:
        """Return a job of a formula of rows, for some classes."""
        job = self._job
        whole, some = job.kind, slice(first, first + x.shape[-1])
        labels = whole.role("y").integer
        arrays = {"x": x, "y": self._y - first if labels else self._y[:, some]}
        arrays |= {
            name: each[some] if whole.role(name).per_class else each
            for name, each in self._more.items()
        }
        arguments = [Argument(name, each.dtype, whole.role(name)) for name, each in arrays.items()]
        numbers = {} if self._numbers is None else self._numbers
        arguments += [Argument(name, each.dtype, ITEM) for name, each in numbers.items()]
        kind = Kind(
            formula,
            tuple(arguments),
            self._dtype,
            whole.static,
            whole.static_key,
            whole.numbers,
            **changes,
        )
        return Job(kind, self._xp, arrays | numbers, numbers=job.numbers)
