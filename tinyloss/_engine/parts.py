"""Losses of rows whose classes come a part at a time, each looked at twice.

The first look at a part joins what it shows of each row to what is known: running sums, each in
units of a running maximum. The second, when all parts have been seen, gives the part's gradient. So
none is made with a maximum that later changes. Both are jobs, answered as any are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from tinyloss._arrays import beside, namespace
from tinyloss._engine.job import Argument, Job, Kind, poisoned, replaced
from tinyloss._engine.run import answer_of
from tinyloss._formula import CLASS, ITEM, Formula, InParts, made_once


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
        self.weight = None if weight is None else xp.broadcast_to(weight, (items,))
        """What each row weighs; None for 1."""
        place = beside(like)
        self.known = tuple(
            [
                xp.full((items,), start, dtype=self._dtype, **place)
                for start in self._formulas.start.values()
            ]
        )
        """What has been seen of each row."""
        self._numbers: dict[str, Any] | None = None

    def look(self, x: Any, first: int) -> None:
        """Look at the scores of all rows for some classes, from the one of index `first` on."""
        known = dict(zip(self._formulas.start, self.known, strict=True))
        job = self._part(self._formulas.shown, x, first, known, value=False, grads=tuple(known))
        self.join(answer_of(job).grads)

    def join(self, seen: Sequence[Any]) -> None:
        """Add what other parts showed."""
        self.known = self._formulas.joined(self.known, seen)

    def value(self, dtype: Any) -> Any:
        """Return the rows' losses times their weights, summed and divided if they are reduced."""
        xp, weight, divisor = self._xp, self.weight, self._job.divisor
        value = _weighed(self._formulas.loss(*self.known), weight)
        if not self._job.kind.reduce:
            return xp.astype(value, dtype)
        value = xp.sum(value, dtype=dtype)
        return value if divisor is None else value / divisor

    def grad(self, x: Any, first: int, into: Any) -> None:
        """Write the gradient of the loss by the scores for some classes, maybe in their place."""
        whole = self._job.kind
        changes = {"value": False, "grads": ("x",), "divided": whole.divided}
        job = self._part(self._formulas.slope, x, first, self.numbers, **changes)
        weight, divisor = self.weight, self._job.divisor
        weighted = weight is not None
        answer_of(replaced(job, weighted=weighted, weight=weight, divisor=divisor, out=(into,)))

    @property
    def numbers(self) -> Mapping[str, Any]:
        """What the gradient takes of each row, when all parts have been seen."""
        if self._numbers is None:
            self._numbers = self._formulas.numbers(*self.known)
        return self._numbers

    def _part(
        self,
        formula: type[Formula],
        x: Any,
        first: int,
        numbers: Mapping[str, Any],
        **changes: Any,
    ) -> Job:
        """Return a job of a formula of rows and numbers of these, for some classes."""
        job = self._job
        whole, some = job.kind, slice(first, first + x.shape[-1])
        labels = whole.role("y").integer
        arrays = {"x": x, "y": self._y - first if labels else self._y[:, some]}
        arrays |= {
            name: each[some] if whole.role(name).per_class else each
            for name, each in self._more.items()
        }
        arguments = [Argument(name, each.dtype, whole.role(name)) for name, each in arrays.items()]
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
        return Job(kind, self._xp, {**arrays, **numbers}, numbers=job.numbers)


_ROWS, _COLUMNS = "row_weight", "column_weight"
"""Arguments of a formula of both: what each row, and each column, weighs."""


def with_columns(job: Job, columns: Parts) -> Job:
    """Return the job of rows whose columns, all of which are known, have the loss besides.

    The target of the row i is the column i, and that of the column i is the row i. So a score is a
    target both ways, and its gradient is the mean of two. The value is that of the rows.
    """
    arrays = {**job.arrays, **columns.numbers}
    more = dict.fromkeys(columns.numbers, CLASS)
    if job.weight is not None:
        arrays[_ROWS] = job.xp.broadcast_to(job.weight, job.arrays["y"].shape)
        more[_ROWS] = ITEM
    if columns.weight is not None:
        arrays[_COLUMNS], more[_COLUMNS] = columns.weight, CLASS
    arguments = [Argument(name, arrays[name].dtype, role) for name, role in more.items()]
    return replaced(
        job,
        formula=made_once(job.kind.formula, "_both", partial(_of_both, job.kind.formula)),
        arguments=(*job.kind.arguments, *arguments),
        arrays=arrays,
        weight=None,
        weighted=False,
    )


def _of_both(own: Any) -> type[Formula]:
    """Return the formula of rows and of columns that are known, of a loss in parts."""
    across = own.in_parts.across
    of_columns = {name: role for name, role in across.roles.items() if name not in own.roles}

    class Both(Formula):
        name = own.name
        rowwise = True
        roles = MappingProxyType({**own.roles, **of_columns, _ROWS: ITEM, _COLUMNS: CLASS})

        def __init__(self, x: Any, y: Any, **given: Any) -> None:
            self._weights = given.pop(_ROWS, None), given.pop(_COLUMNS, None)
            known = {name: given.pop(name) for name in of_columns if name in given}
            self._rows, self._columns = own(x, y, **given), across(x, y, **given, **known)

        def value(self) -> Any:
            return _weighed(self._rows.value(), self._weights[0])

        def grad_x(self) -> Any:
            of_row, of_column = self._weights
            of_row = None if of_row is None else of_row[..., None]
            by_rows = _weighed(self._rows.grad_x(), of_row)
            return 0.5 * (by_rows + _weighed(self._columns.grad_x(), of_column))

    return Both


def _weighed(result: Any, weight: Any) -> Any:
    """Return what is times its weight, 0 where that is 0: it may be NaN there."""
    return result if weight is None else namespace(weight).where(weight == 0, 0.0, result * weight)
