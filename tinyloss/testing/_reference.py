"""The formulas in float64, and the error that is allowed: see the notes of `check_backend`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import tinyloss
from tinyloss._arrays import kind
from tinyloss.backend import Job
from tinyloss.testing._arguments import moved
from tinyloss.testing._arrays import PRECISION
from tinyloss.testing._cases import Case
from tinyloss.testing._subjects import Parts
from tinyloss.testing._watch import Watch

# A product of a subnormal factor and a large one has the absolute error of the first times the
# second: p^2 log p, or a loss times its weight. 2^10 is the largest second factor that is drawn.
_SUBNORMALS = 1024


class Truth(NamedTuple):
    """What one result should be."""

    formulas: Any
    """The formulas' answer in the dtype computed in."""
    exact: Any
    """The formulas' answer in float64."""
    size: Any
    """The size that an error is relative to."""


class Reference:
    """The formulas' answers to cases, on NumPy."""

    def __init__(self, numpy: Any, watch: Watch) -> None:
        self._np, self._watch = numpy, watch

    def truths(
        self, case: Case, arrays: list[Any], options: dict[str, Any], computed: str
    ) -> dict[str, Truth]:
        """Return what each result should be; `computed` names the dtype computed in."""
        np = self._np
        given = list(arrays)
        if kind(given[0].dtype) != "float":
            given[0] = given[0].astype(computed)
        answer, _ = self._answer(case, given, options)
        wide = [_widened(np, each) for each in given]
        more = {name: _widened(np, each) for name, each in options.items()}
        exact, job = self._answer(case, wide, more)

        # Not reduced, because the size of a sum is the sum of its terms' sizes.
        alone = replace(case, reduction="none", denominator="") if case.reduced else case
        each_item = {k: v for k, v in more.items() if k != "denominator"}
        if case.reduced and case.subject.by:
            each_item["reduction"] = "none"
        terms, _ = self._answer(alone, wide, each_item)
        unit = self._sensitivity(alone, wide, each_item, terms)
        scale = 1.0 if job.divisor is None else self._divisor(case, wide, more)
        truths: dict[str, Truth] = {}
        for name in exact:
            with np.errstate(all="ignore"):
                size = (np.abs(terms[name]) + unit[name]) / scale
                if name == "value" and case.reduced and case.subject.by:
                    size = np.sum(size)
                size = np.maximum(size, np.abs(exact[name]))
            truths[name] = Truth(answer[name], exact[name], size)
        return truths

    def _divisor(self, case: Case, arrays: list[Any], options: Mapping[str, Any]) -> Any:
        """Return the absolute value of a mean's divisor; a job's is scaled with its weights."""
        if options.get("denominator") is not None:
            return self._np.abs(_double(self._np, options["denominator"]))
        parts, _ = self._answer(replace(case, want="sums"), arrays, options)
        weight = self._np.abs(parts["weight"])
        return self._np.where(weight == 0, 1.0, weight)

    def _answer(
        self, case: Case, arrays: list[Any], options: Mapping[str, Any]
    ) -> tuple[Parts, Job]:
        """Return the formulas' answer on NumPy arrays, with the case's class axis."""
        given = [moved(self._np, case, each) for each in arrays]
        more = dict(options)
        for name in case.subject.like_x & set(more):
            more[name] = moved(self._np, case, more[name])
        if case.subject.has_axis():
            more["axis"] = case.axis
        with tinyloss.validation("never"):
            call = partial(case.subject.call, case.want, case.argnums, given, more)
            return self._watch.formulas(call)

    def _sensitivity(
        self, case: Case, arrays: list[Any], options: Mapping[str, Any], parts: Parts
    ) -> Parts:
        """Return each result's change per relative change of the inputs.

        It is measured by differences in random directions, over a long step and a short one. At a
        jump the two disagree; the sensitivity then counts as 0. Terms of pairs may cancel and
        none of them move with the scores. So what pairs weigh is an input too, 1 if it is not
        given.
        """
        np = self._np
        unit: Parts = {name: np.zeros(np.shape(part)) for name, part in parts.items()}
        rng = np.random.default_rng([case.seed, case.number, 1])
        inputs: list[Any] = [*range(len(arrays)), *sorted(case.subject.arrays & set(options))]
        ones = dict.fromkeys(case.subject.arrays - set(options), np.ones_like(arrays[0]))
        inputs += sorted(ones) if case.subject.paired else []
        for at in inputs:
            most: Parts = {name: np.zeros(np.shape(part)) for name, part in parts.items()}
            given = arrays[at] if isinstance(at, int) else (ones | dict(options))[at]
            for _ in range(2):
                slopes: list[Parts] = []
                direction = self._direction(case, rng, given, at)
                if direction is None:
                    break
                for step in (2.0**-13, 2.0**-30):
                    with np.errstate(all="ignore"):
                        near = given + step * direction
                    if isinstance(at, int):
                        beside, _ = self._answer(
                            case, [*arrays[:at], near, *arrays[at + 1 :]], options
                        )
                    else:
                        beside, _ = self._answer(case, arrays, {**options, at: near})
                    with np.errstate(all="ignore"):
                        slopes.append({k: np.abs(beside[k] - parts[k]) / step for k in parts})
                for name, size in most.items():
                    long, short = slopes[0][name], slopes[1][name]
                    smooth = np.isfinite(long) & np.isfinite(short) & (short <= 4 * long)
                    most[name] = np.maximum(size, np.where(smooth, np.minimum(long, short), 0.0))
            unit = {name: size + most[name] for name, size in unit.items()}
        return unit

    def _direction(self, case: Case, rng: Any, array: Any, argument: Any) -> Any:
        """Return a random direction of an input's size, None for labels, numbers and booleans."""
        np, labels = self._np, case.subject.labels and argument == 1
        if labels or not isinstance(array, np.ndarray) or kind(array.dtype) == "bool":
            return None
        size = np.abs(_double(np, array))
        if isinstance(argument, int) and case.subject.is_real(argument):
            size = np.maximum(size, 1.0)
        drawn = rng.uniform(0.5, 1, array.shape) * (2 * rng.integers(0, 2, array.shape) - 1)
        # An infinite number does not change.
        return np.where(np.isfinite(size), drawn * size, 0.0)


def compare(
    np: Any, name: str, part: Any, dtype: str, truth: Truth, computed: str, bound: float
) -> tuple[float, str]:
    """Return the largest error of a result in units, and a complaint where it is off.

    `part` is the result as a NumPy array, `dtype` that of the library's array.
    """
    eps, subnormal = PRECISION[computed]
    result, want, exact, size = (_double(np, each) for each in (part, *truth))
    with np.errstate(all="ignore"):
        finite = np.isfinite(want)
        same = (result == want) | (np.isnan(result) & np.isnan(want))
        error = np.abs(result - exact)
        forgiven = _SUBNORMALS * subnormal
        if dtype != computed:
            forgiven = forgiven + _last_place(np, exact, dtype)
        size = np.where(np.isfinite(size), size, np.abs(exact))
        allowed = np.abs(want - exact) + bound * eps * size + forgiven
        wrong = np.where(finite, ~(error <= allowed), ~same)
        units = np.maximum(error - forgiven, 0) / np.maximum(eps * size, forgiven)
        worst = float(np.max(units, where=finite & np.isfinite(units), initial=0.0))
    if not np.any(wrong):
        return worst, ""
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    index = [int(i) for i in at]
    return worst, (
        f"{name}{index or ''} is {result[at]!s}, expected "
        f"{(exact if finite[at] else want)[at]!s}: {units[at]:.3g} units off, "
        f"{int(np.sum(wrong))} of {wrong.size} wrong"
    )


def _widened(np: Any, value: Any) -> Any:
    """Return an array with its numbers in float64; booleans stay what they are."""
    floating = isinstance(value, np.ndarray) and kind(value.dtype) == "float"
    return value.astype(np.float64) if floating else value


def _double(np: Any, value: Any) -> Any:
    return np.asarray(value).astype(np.float64)


def _last_place(np: Any, exact: Any, dtype: str) -> Any:
    """Return the unit in the last place of a dtype at numbers in float64."""
    eps, subnormal = PRECISION[dtype]
    _, exponent = np.frexp(np.where(np.isfinite(exact), exact, 0.0))
    return np.maximum(np.ldexp(eps, exponent - 1), subnormal)
