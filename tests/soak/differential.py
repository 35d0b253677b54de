"""Random calls of every loss against textbook formulas, for minutes or hours.

    python -m tests.soak.differential --minutes 20 --seed 1 [--only mse] [--library numpy]
    python -m tests.soak.differential --case 1:234

A call is drawn from its seed and number alone, so the second line repeats one. Everything that a
call can vary in is drawn (`tests.soak.draw`): shapes, strides, dtypes, values, options, parameters,
what is asked and of which library. In every third group of calls nothing differs but what arrays
hold, so that what was kept of the first answers the others. The expectation
(`tests.soak.expectation`) follows the rules of the losses' semantics: which items count, what the
mean divides by, what is an error.

Tolerances. A result of one item may be off by the loss's bound (`tests.support.specs`) in eps of
the dtype computed in, relative to the sum of the magnitudes of its terms; the weight and the
divisor add one rounding each. A sum of n adds log2(n) roundings of the sum of magnitudes, as
pairwise summation does, and a divisor those of its own sum in the widest dtype. Half-precision
gradients are rounded once more: half a unit in their last place. Underflow costs a few smallest
numbers.
"""

import argparse
import contextlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyloss
import tinyloss_numpy
from tests.soak.draw import GROUP, LIBRARIES_DRAWN, Case, draw
from tests.soak.expectation import expect
from tests.soak.formulas import ACTIVATIONS, LOSSES
from tests.support.libraries import LIBRARIES, Library, leaves

__all__ = ["Failure", "soak"]

Array = npt.NDArray[Any]

CLASSES = {
    each.function.__name__: each
    for each in vars(tinyloss).values()
    if isinstance(each, type) and hasattr(each, "function")
}

CALL = ("weight", "where", "denominator", "mask")
"""What a call of an object takes."""


@dataclass
class Failure:
    """A call that went wrong."""

    seed: int
    number: int
    case: Case
    message: str

    def __str__(self) -> str:
        how = " + ".join([name for _, name, _ in self.case.terms]) or self.case.loss
        return (
            f"FAILED {how} on {self.case.library}, {self.case.want}: {self.message}\n"
            f"    python -m tests.soak.differential --case {self.seed}:{self.number}"
        )


class _Numpy(Library):
    """NumPy's arrays as they are drawn."""

    def own(self, host: Array) -> Array:
        return host


class _Libraries:
    """The libraries that calls are made on, each imported at its first."""

    def __init__(self) -> None:
        self.kept: dict[str, Library] = {}
        self.missing: set[str] = set()

    def __getitem__(self, name: str) -> Library | None:
        if name not in self.kept and name not in self.missing:
            try:
                kind = _Numpy if name.startswith("numpy") else LIBRARIES[name]
                self.kept[name] = kind(name)
            except ImportError:
                self.missing.add(name)
        return self.kept.get(name)


def _call(case: Case, xp: Library) -> dict[str, Any]:
    """Make the call; return its results by name."""

    def own(array: Array, option: bool = False) -> Any:
        if option and case.lists:
            return array.tolist()
        if case.library.startswith("numpy") or (option and case.foreign):
            return array
        return xp.own(array.astype(array.dtype.newbyteorder("=")))

    if case.y is None:
        function = getattr(tinyloss, case.loss)
        keywords = {} if case.loss in ("softplus", "log_sigmoid") else {"axis": case.axis}
        return {"value": xp.run(function, (own(case.x),), keywords)}

    options = dict(case.options)
    for name in ("weight", "where", "mask"):
        if name in options:
            options[name] = own(options[name], True)
    if isinstance(options.get("denominator"), np.ndarray):
        options["denominator"] = own(options["denominator"], True)
    x = own(case.x)
    arrays = [x, x if case.y is case.x else own(case.y)]
    if case.var is not None:
        arrays.append(own(case.var))
    if case.object:
        loss = _object(case, case.options)
        options = {k: v for k, v in options.items() if k in CALL}
    else:
        loss = getattr(tinyloss, case.loss)
        options |= case.params
        if case.loss in LOSSES and "axis" in loss.__signature__.parameters:
            options["axis"] = case.axis
        for name in ("class_weight", "pos_weight", "q"):
            if isinstance(options.get(name), np.ndarray):
                options[name] = own(options[name], True)

    # An array to write into has the byte order of its argument; here they are all native.
    native = all(getattr(getattr(each, "dtype", None), "isnative", True) for each in arrays)
    out = _out(case, xp, arrays) if case.out and native else None
    given: Any = tinyloss  # its functions are asked for by name
    if case.want == "value":
        return {"value": xp.run(loss, tuple(arrays), options)}
    if case.want == "partial_mean":
        part = xp.run(given.partial_mean(loss, lambda g: g), tuple(arrays), options)
        return {"total": part.total, "weight": part.weight}
    if case.want == "grad_and_hess":
        gradient, curvature = xp.run(given.grad_and_hess(loss, out=out), tuple(arrays), options)
        results = {"grad0": gradient, "curvature": curvature}
    else:
        single = isinstance(case.argnums, int)
        function = getattr(given, case.want)(
            loss, case.argnums, out=out[0] if single and out is not None else out
        )
        answer = xp.run(function, tuple(arrays), options)
        grads = answer[1] if case.want == "value_and_grad" else answer
        results = {f"grad{n}": each for n, each in enumerate((grads,) if single else grads)}
        if case.want == "value_and_grad":
            results["value"] = answer[0]
    if out is not None:
        written = [each for name, each in results.items() if name != "value"]
        assert all(a is b for a, b in zip(written, out, strict=True)), "out was not returned"
    return results


def _object(case: Case, options: dict[str, Any]) -> Any:
    terms = case.terms or [(1.0, case.loss, case.params)]
    total: Any = None
    for factor, name, params in terms:
        kind = CLASSES[name]
        names = {each.name for each in fields(kind)}
        given = {k: v for k, v in (options | params | {"axis": case.axis}).items() if k in names}
        one: Any = kind(**given)
        if case.terms:
            one = factor * one
        total = one if total is None else total + one
    return total


def _out(case: Case, xp: Library, arrays: list[Any]) -> tuple[Any, ...]:
    """Return arrays for the derivatives, of the dtypes and shapes that these have."""
    # As if nothing could be looked at: an error needs them, too.
    expected = expect(case, xp.default_float, False, False)
    assert not isinstance(expected, str)
    return tuple(
        [
            xp.own(np.full(one.exact.shape, 7, one.dtype))
            for name, one in expected.items()
            if name not in ("value", "total", "weight")
        ]
    )


def _before(case: Case) -> list[tuple[Array, Array]]:
    given = [case.x, case.y, case.var, *case.options.values()]
    return [(each, each.copy()) for each in given if isinstance(each, np.ndarray)]


def judge(case: Case, xp: Library) -> list[str]:
    """Make a call and return what is wrong with it."""
    jax = case.library.startswith("jax")
    expected = expect(case, xp.default_float, xp.sees_labels, jax)
    before = _before(case)
    mode: Any = "always" if case.library == "numpy:compiled" else "never"
    with tinyloss_numpy.compilation(mode), xp.settings(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".* has one class")
        try:
            results = _call(case, xp)
            fetched = {name: xp.host(each) for name, each in results.items()}
        except (
            ValueError,
            TypeError,
            ArithmeticError,
            LookupError,
            AttributeError,
            Warning,
        ) as error:
            kind = type(error).__name__
            if kind == expected:
                return []
            return [f"raised {kind}: {str(error).splitlines()[0][:200]}"]
        except AssertionError as error:
            return [f"raised AssertionError: {error}"]
    if isinstance(expected, str):
        return [f"returned, expected a {expected} for a target outside of its domain"]
    complaints = [
        f"{name} is not an array of {xp.name}: {type(each)}"
        for name, result in results.items()
        for each in leaves(result)
        if not xp.owns(each)
    ]
    for name, one in expected.items():
        got = fetched[name]
        if str(one.dtype) in ("float16", "bfloat16") and got.dtype == np.float32:
            got = got.astype(one.dtype)  # torch's half precision comes by way of float32
        complaint = one.complaint(got)
        if complaint:
            complaints.append(f"{name}{complaint}")
    complaints += ["an input was changed" for now, was in before if now.tobytes() != was.tobytes()]
    return complaints


def _show(case: Case) -> str:
    lines: list[str] = []
    for each in fields(case):
        value = getattr(case, each.name)
        if isinstance(value, np.ndarray):
            value = f"{value.dtype} {value.shape} strides {value.strides}\n{value!r}"
        lines.append(f"{each.name}: {value}")
    return "\n".join(lines)


@dataclass
class Tally:
    """How many calls there were, and which went wrong."""

    losses: Counter[str] = field(default_factory=Counter[str])
    libraries: Counter[str] = field(default_factory=Counter[str])
    seconds: Counter[str] = field(default_factory=Counter[str])
    failures: list[Failure] = field(default_factory=list[Failure])
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        calls, seconds = self.libraries.total(), time.monotonic() - self.began
        by = [
            ", ".join(f"{name} {n}" for name, n in counter.most_common())
            for counter in (self.libraries, self.losses)
        ]
        spent = ", ".join(f"{name} {n:.0f}" for name, n in self.seconds.most_common())
        return (
            f"{calls} calls in {seconds:.0f} s ({60 * calls / max(seconds, 1e-9):.0f} a minute), "
            f"{len(self.failures)} failures; by library: {by[0]}; by loss: {by[1]}; "
            f"seconds: {spent}"
        )


def soak(
    minutes: float, seed: int, only: str | None = None, library: str | None = None
) -> Iterator[Failure | Tally]:
    """Make calls for some minutes; yield each failure, and the tally every half a minute."""
    tally, libraries = Tally(), _Libraries()
    number, said = 0, time.monotonic()
    while time.monotonic() - tally.began < 60 * minutes:
        case = draw(seed, number, only, library)
        number += 1
        if case is None or (xp := libraries[case.library]) is None:
            continue
        start = time.monotonic()
        complaints = judge(case, xp)
        tally.losses[case.loss] += 1
        tally.libraries[case.library] += 1
        tally.seconds[case.library] += time.monotonic() - start  # type: ignore[assignment]
        if complaints:
            failure = Failure(seed, number - 1, case, "; ".join(complaints))
            tally.failures.append(failure)
            yield failure
        if time.monotonic() - said > 30:
            said = time.monotonic()
            yield tally
    yield tally


def repeat(seed: int, number: int) -> list[str]:
    """Make one call again, and print all about it."""
    case = draw(seed, number)
    assert case is not None
    print(_show(case))
    xp = _Libraries()[case.library]
    if xp is None:
        raise SystemExit(f"{case.library} is not installed")
    for earlier in range(number - number % GROUP, number):  # it may be like these
        before = draw(seed, earlier)
        if before is not None and before.library == case.library:
            judge(before, xp)
    complaints = judge(case, xp)
    print("\n".join(complaints) or "right")
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*LOSSES, *ACTIVATIONS], help="one loss")
    parser.add_argument("--library", choices=[*LIBRARIES_DRAWN], help="one library")
    parser.add_argument("--case", metavar="SEED:NUMBER", help="repeat one call")
    asked = parser.parse_args()
    if asked.case:
        seed, _, number = asked.case.partition(":")
        return int(bool(repeat(int(seed), int(number))))
    failed = False
    with contextlib.suppress(KeyboardInterrupt):
        for event in soak(asked.minutes, asked.seed, asked.only, asked.library):
            failed = failed or isinstance(event, Failure)
            print(event, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
