"""Whether a loss keeps its digits, its derivatives and the rules of all losses.

arrays      the caller's, and the same from ordinary to extreme                 _families
   |        the recorded formula on decimal numbers, and differences of it      _exact
exact       values and gradients, and how far inputs that are off by eps move them
   |        the loss on float32 arrays of each library that is installed
findings    what is wrong, with the input; the line that loses digits first, and a way out
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tinyloss._transforms import value_and_grad
from tinyloss.backend import Role
from tinyloss.compiler.program import Program
from tinyloss.compiler.recorder import BadFormula, Unrecordable, record
from tinyloss.testing._blame import advice, first_lost, line_of
from tinyloss.testing._exact import as_decimal, brought, decimals, exactly

__all__ = ["LossReport", "check_loss"]

_ITEMS, _ROWS = 16, 6
"""How many elements, or rows, are looked at: a digit of a decimal number takes time."""
_SCALES = (-20, -7, 2, 4, 6, 10)
"""Powers of two that predictions are multiplied with, from almost 0 to a thousand."""
_HUGE = 1e30
"""A value beside which a difference by a small step vanishes."""


@dataclass(frozen=True)
class LossReport:
    """What a loss did that passed the check.

    Examples
    --------
    >>> import tinyloss.testing
    >>> tinyloss.testing.LossReport("mine", {"value": 1.5}, ("numpy",)).worst["value"]
    1.5
    """

    name: str
    """The loss's name."""

    worst: Mapping[str, float] = field(default_factory=dict[str, float])
    """The largest error of the value and of each gradient, in the unit of `bound`."""

    libraries: tuple[str, ...] = ()
    """The libraries that it was called on."""


def check_loss(
    loss: Any,
    x: Any,
    y: Any,
    *more: Any,
    bound: float = 64,
    libraries: Iterable[str] | None = None,
    **parameters: Any,
) -> LossReport:
    """Check that a loss keeps its digits, that its gradients are its slopes, and the rules.

    For losses by `tinyloss.loss`, and for those of this package. The loss is called on these arrays
    and on others like them, from almost equal to extreme. Its formula is evaluated with 110 digits.

    Parameters
    ----------
    loss
        A loss function.
    x, y, *more
        Some ordinary predictions and targets, as NumPy's arrays or lists: few are enough.
    bound
        The error allowed, in units of the Notes.
    libraries
        The array libraries to call the loss on, by the names of their modules. By default NumPy,
        and those of JAX, torch and array-api-strict that are installed.
    **parameters
        Parameters of the loss.

    Returns
    -------
    A `LossReport`.

    Raises
    ------
    AssertionError
        With what was found: the input, what came and what was expected, the first line of the
        formula that loses digits, and what to write instead, where the pattern is known.

    Notes
    -----
    Checked on float32 arrays:

    - The value is that of the formula in exact arithmetic. One unit is eps * (size of the value +
      change of the value if every input changes by eps of itself): Higham, Accuracy and Stability
      of Numerical Algorithms, section 1.5.
    - Gradients are differences of the exact value, in the same unit; those by other arguments than
      x in that of the largest, 1 at least. At a kink they are no NaN.
    - A mean of weighted items is the sum of weight * loss over the sum of the weights. NaN that a
      mask leaves out reaches nothing. Items in another order have the same losses.

    Examples
    --------
    >>> import numpy as np, tinyloss, tinyloss.testing
    >>> @tinyloss.loss
    ... def softplus_of_error(x, y):
    ...     xp = tinyloss.namespace(x)
    ...     return xp.log(1 + xp.exp(x - y))
    >>> try:
    ...     tinyloss.testing.check_loss(softplus_of_error, np.linspace(-2, 2, 9), np.zeros(9))
    ... except AssertionError as found:
    ...     print("log1p" in str(found))
    True
    """
    numpy = import_module("numpy")
    if isinstance(loss, type) or not hasattr(loss, "request"):
        raise TypeError(f"tinyloss.testing.check_loss: got {loss!r}, expected a loss function")
    arrays = [numpy.asarray(each) for each in (x, y, *more)]
    asked = _installed() if libraries is None else [*libraries]
    try:
        check = _Check(numpy, loss, arrays, parameters, bound, asked)
        with numpy.errstate(all="ignore"):
            check.run()
    except (BadFormula, Unrecordable) as error:
        raise AssertionError(f"tinyloss.testing.check_loss: {error}") from None
    if check.findings:
        count = f"{len(check.findings)} fault" + "s" * (len(check.findings) > 1)
        raise AssertionError(
            f"tinyloss.testing.check_loss: {check.name} has {count}\n" + "\n".join(check.findings)
        )
    return LossReport(check.name, check.worst, tuple(asked))


class _Check:
    """One check: the loss, its recording, and what was found."""

    def __init__(
        self,
        numpy: Any,
        loss: Any,
        arrays: list[Any],
        parameters: dict[str, Any],
        bound: float,
        libraries: list[str],
    ) -> None:
        self.numpy, self.loss, self.parameters, self.bound = numpy, loss, parameters, bound
        self.name: str = getattr(loss, "__name__", repr(loss))
        self.findings: list[str] = []
        self.worst: dict[str, float] = {}
        self._said: set[str] = set()
        self._libraries = {
            name: import_module("jax.numpy" if name == "jax" else name) for name in libraries
        }
        request = loss.request([*arrays], {**parameters, "reduction": "none"})
        labels = request.labels is not None and arrays[1].ndim < arrays[0].ndim
        formula: Any = request.labels if labels else request.formula or request.labels
        self.formula, self.rowwise = formula, formula.rowwise
        self.names: list[str] = ["x", "y", *request.arrays]
        names = self.names
        self.roles: dict[str, Role] = {name: formula.role(name) for name in names}
        self.parts = {name: _float32(numpy, each) for name, each in zip(names, arrays, strict=True)}
        self.by = [
            n
            for n, name in enumerate(names)
            if not self.roles[name].integer and hasattr(formula, f"grad_{name}")
        ]

        def value(**given: Any) -> Any:
            return formula(**given, **request.params).value()

        self.program = record(value, self.roles, place=line_of)

    # --------------------------------------------------------------------------------------- flow

    def run(self) -> None:
        chosen = self._few()
        for title, arrays in _families(self.numpy, chosen, self.rowwise):
            self._accurate(title, arrays)
        self._keeps_rules(chosen)

    def _few(self) -> dict[str, Any]:
        """Return some items of the arrays, spread evenly; elements as one row of items."""
        x = self.parts["x"]
        items = x.shape[:-1] if self.rowwise else x.shape
        count = int(self.numpy.prod(items))
        most = _ROWS if self.rowwise else _ITEMS
        at = self.numpy.unique(self.numpy.linspace(0, count - 1, min(most, count)).astype(int))
        few: dict[str, Any] = {}
        for name, array in self.parts.items():
            role = self.roles[name]
            if not role.per_item:
                few[name] = array
            elif role.per_class:
                few[name] = array.reshape(count, x.shape[-1])[at]
            else:
                few[name] = self.numpy.broadcast_to(array, items).reshape(count)[at]
        return few

    # ----------------------------------------------------------------------------------- accuracy

    def _accurate(self, title: str, arrays: dict[str, Any]) -> None:
        by = [self.names[n] for n in self.by]
        exact = _Exact(self.numpy, self.program, self.roles, arrays, by)
        ask: Any = value_and_grad(self.loss, tuple(self.by)) if self.by else None
        for name, module in self._libraries.items():
            given = [module.asarray(each) for each in arrays.values()]
            options: dict[str, Any] = {**self.parameters, "reduction": "none"}
            try:
                value, grads = ask(*given, **options) if ask else (self.loss(*given, **options), ())
            except Exception as error:
                self.findings.append(f"- on {name}: {type(error).__name__}: {error}")
                return
            self._judge("value", name, title, arrays, self._host(value), *exact.value)
            for of, grad in zip(by, grads, strict=True):
                found = exact.slopes[of]
                self._judge(f"gradient by {of}", name, title, arrays, self._host(grad), *found)

    def _host(self, array: Any) -> Any:
        array = array.detach() if hasattr(array, "detach") else array
        return self.numpy.asarray(array)

    def _judge(
        self,
        what: str,
        library: str,
        title: str,
        arrays: Any,
        got: Any,
        exact: Any,
        units: Any,
        edge: Any,
    ) -> None:
        """Compare what came with what is exact; at an edge only NaN is wrong."""
        numpy = self.numpy
        if what in self._said:  # the first of a kind says it
            return
        got = numpy.asarray(got, dtype=numpy.float64).reshape(exact.shape)
        known = numpy.isfinite(exact) & ~edge
        wrong = numpy.isnan(got) & (known | edge)
        largest = float(numpy.finfo(numpy.float32).max)
        off = numpy.abs(got - exact) / numpy.where(units > 0, units, 1.0)
        near = (numpy.abs(exact) >= largest * 0.99) & (got * numpy.sign(exact) >= largest * 0.99)
        beyond = known & ~near & ~(off <= self.bound)
        counted = off[known & ~near]
        if counted.size:
            self.worst[what] = max(self.worst.get(what, 0.0), round(float(counted.max()), 2))
        wrong = wrong | beyond
        if not wrong.any():
            return
        self._said.add(what)
        at = tuple(numpy.argwhere(wrong)[0].tolist())
        row = at[:1] if self.rowwise else at
        given = ", ".join(
            f"{name} = {_shown(array[row] if self.roles[name].per_item else array)}"
            for name, array in arrays.items()
        )
        place = f"[{at[1]}]" if len(at) > 1 else ""
        expected = "a number" if edge[at] else f"{exact[at]:.9g}"
        self.findings.append(
            f"- the {what}{place} is {got[at]:.9g} on {library} ({title}: {given}), expected "
            f"{expected}" + self._blamed(arrays, bool(numpy.isnan(got[at])))
        )

    def _blamed(self, arrays: dict[str, Any], is_nan: bool) -> str:
        """Return the line that loses digits first, and a way out."""
        node = first_lost(self.numpy, self.program, self.roles, arrays, self.bound, is_nan)
        if node is None:
            return ""
        place = self.program.graph.places.get(id(node))
        line = "" if place is None else f"\n  {place[0]}:{place[1]}: {place[2]}"
        way_out = advice(node)
        return line + (f"\n  {way_out}" if way_out else "")

    # -------------------------------------------------------------------------------------- rules

    def _keeps_rules(self, arrays: dict[str, Any]) -> None:
        numpy, loss, options = self.numpy, self.loss, self.parameters
        given = [*arrays.values()]
        each = self._host(loss(*given, **options, reduction="none")).astype(numpy.float64)
        if not numpy.isfinite(each).all() or each.ndim != 1:
            return
        close = 64 * float(numpy.finfo(numpy.float32).eps)
        weight = 0.5 + numpy.arange(each.size, dtype=numpy.float32) % 3
        mean = float(loss(*given, **options, weight=weight))
        expected = (weight * each).sum() / weight.sum()
        if not abs(mean - expected) <= close * (weight * abs(each)).sum() / weight.sum():
            self.findings.append(
                f"- the weighted mean is {mean:.9g}, expected {expected:.9g}: sum of weight * loss "
                "over sum of weight"
            )
        turned = [
            array[::-1] if role.per_item else array
            for array, role in zip(given, self.roles.values(), strict=True)
        ]
        back = self._host(loss(*turned, **options, reduction="none"))[::-1]
        if not (abs(back - each) <= close * abs(each)).all():
            at = int(numpy.argmax(abs(back - each)))
            self.findings.append(
                f"- the loss of item {at} is {each[at]:.9g}, and {back[at]:.9g} where items come "
                "in another order, expected a loss of this item alone"
            )
        if each.size > 1:
            where = numpy.arange(each.size) > 0
            holed = [array.copy() for array in given]
            holed[0][0] = numpy.nan
            left, expected = float(loss(*holed, **options, where=where)), each[1:].mean()
            if not abs(left - expected) <= close * abs(each[1:]).mean():
                self.findings.append(
                    f"- the mean is {left:.9g} where a mask leaves out an item of NaN, expected "
                    f"{expected:.9g}, that of the others"
                )


def _float32(numpy: Any, array: Any) -> Any:
    return array.astype(numpy.float32) if array.dtype.kind == "f" else array


def _shown(numbers: Any) -> str:
    if numbers.ndim == 0:
        return f"{numbers:.9g}"
    return "[" + ", ".join(f"{each:.9g}" for each in numbers.ravel()[:8]) + "]"


def _installed() -> list[str]:
    others = ("jax", "torch", "array_api_strict")
    return ["numpy", *[name for name in others if find_spec(name) is not None]]


def _families(
    numpy: Any, arrays: dict[str, Any], rowwise: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the arrays, and others like them from almost equal to extreme."""
    x, y = arrays["x"], arrays["y"]
    yield "as given", arrays
    shares = x.min(initial=0) >= 0 and x.max(initial=0) <= 1
    for power in _SCALES:
        if power < 0 or not shares:
            yield f"x times 2^{power}", {**arrays, "x": x * numpy.float32(2.0**power)}
    if shares and not rowwise:
        for power in (-7, -20):
            yield f"x near 1 by 2^{power}", {**arrays, "x": 1 - x * numpy.float32(2.0**power)}
    if y.shape == x.shape and y.dtype.kind == "f":
        yield "x next to y", {**arrays, "x": numpy.nextafter(y, numpy.float32(numpy.inf))}
        yield "x equal to y", {**arrays, "x": y.copy()}
    if (x < 0).any():
        yield "x of 0", {**arrays, "x": numpy.zeros_like(x)}


# ------------------------------------------------------------------------------------------- exact


class _Exact:
    """The exact values and slopes of a program, and how far errors of its inputs move them."""

    def __init__(
        self,
        numpy: Any,
        program: Program,
        roles: Mapping[str, Role],
        arrays: Mapping[str, Any],
        by: Sequence[str],
    ) -> None:
        self._numpy, self._program, self._roles = numpy, program, roles
        self._numbers = decimals(numpy)
        with exactly():
            given = brought(numpy, arrays, roles)
            here = self._value(given)
            eps = as_decimal(numpy.finfo(numpy.float32).eps)
            least = as_decimal(numpy.finfo(numpy.float32).smallest_normal)
            moved = numpy.zeros_like(here)
            slopes: dict[str, Any] = {}
            for name in by:
                slope, kink = self._slope(given, name, here)
                slopes[name] = slope, kink
                share = abs(slope * given[name])
                moved = moved + (
                    share.sum(axis=-1, keepdims=True) if share.shape != here.shape else share
                )
            self.value = self._told(
                here, eps * (abs(here) + moved) + least, self._edge(given, here)
            )
            """The exact values, the unit of their errors, and where only NaN is wrong."""
            self.slopes: dict[str, tuple[Any, Any, Any]] = {}
            """The same of the gradients."""
            huge = (abs(self._floats(here)) > _HUGE) | ~numpy.isfinite(self._floats(here))
            for name, (slope, kink) in slopes.items():
                change = numpy.zeros_like(slope)
                for other in by:
                    nudged = {**given, other: given[other] * (1 + eps)}
                    change = change + abs(self._slope(nudged, name, self._value(nudged))[0] - slope)
                size = abs(slope)
                if name != "x":
                    most = self._floats(size).max(initial=1.0, where=~huge)
                    size = numpy.maximum(size, as_decimal(most))
                told = self._told(slope, eps * size + change + least, kink, arrays[name].shape)
                told[0][numpy.broadcast_to(huge, slope.shape).reshape(told[0].shape)] = numpy.nan
                self.slopes[name] = told

    def _told(self, exact: Any, unit: Any, edge: Any, shape: Any = -1) -> tuple[Any, Any, Any]:
        return (
            self._floats(exact).reshape(shape),
            self._floats(unit).reshape(shape),
            edge.reshape(shape),
        )

    def _edge(self, given: Mapping[str, Any], here: Any) -> Any:
        """Return where there is no value though there is one next to it."""
        numpy = self._numpy
        none = numpy.isnan(self._floats(here))
        if not none.any():
            return none
        step = as_decimal(2.0**-100)
        beside = [self._value({**given, "x": given["x"] + sign * step}) for sign in (1, -1)]
        return none & numpy.logical_or(*[numpy.isfinite(self._floats(each)) for each in beside])

    def _value(self, given: Mapping[str, Any]) -> Any:
        (output,) = self._program.outputs
        value = self._numbers.nodes(self._program, given)[id(output)]
        return self._numpy.broadcast_to(value, (len(given["x"]), 1)).copy()

    def _slope(self, given: Mapping[str, Any], name: str, here: Any) -> tuple[Any, Any]:
        """Return the slope by an array, and where it has none: at a kink."""
        numpy = self._numpy
        array = given[name]
        slope, kink = numpy.empty_like(array), numpy.zeros(array.shape, bool)
        tiny = as_decimal(2.0**-100)
        for at in range(array.shape[-1]):
            step = numpy.abs(array[..., at : at + 1]) * tiny
            step = numpy.where(step == 0, tiny, step)
            up, down = array.copy(), array.copy()
            up[..., at : at + 1] += step
            down[..., at : at + 1] -= step
            ahead = (self._value({**given, name: up}) - here) / step
            behind = (here - self._value({**given, name: down})) / step
            slope[..., at : at + 1] = (ahead + behind) / 2
            rough = abs(ahead - behind) > as_decimal(2.0**-30) * (abs(ahead) + abs(behind))
            kink[..., at : at + 1] = rough
        return slope, kink

    def _floats(self, exact: Any) -> Any:
        return exact.astype(self._numpy.float64)
