"""Losses that users define by their value alone: `tinyloss.loss`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cached_property, partial, partialmethod
from pathlib import Path
from traceback import walk_tb
from typing import Any, ClassVar, overload

from tinyloss._arrays import beside, dtype_name, namespace
from tinyloss._cache import Cache
from tinyloss._engine.request import Request
from tinyloss._formula import LABEL, Formula, Role, exact
from tinyloss._function import LossFunction
from tinyloss._hessian import along_of_rows
from tinyloss._objects import RowLoss, TargetLoss
from tinyloss._reads import Changing, Reads
from tinyloss.compiler.derivative import differentiate
from tinyloss.compiler.evaluation import run
from tinyloss.compiler.program import Program
from tinyloss.compiler.recorder import BadFormula, Symbol, Unrecordable, plain_number, record
from tinyloss.losses._numerics import steep
from tinyloss.typing import CallOptions

_OPTIONS = {"weight": None, "where": None, "reduction": "mean", "denominator": None}
_OF_ROWS = {"axis": -1, "axis_name": None}


class CustomLoss(LossFunction[...]):
    """A loss function that `tinyloss.loss` made."""

    def __init__(self, describe: Callable[..., Request], own: "_Own") -> None:
        super().__init__(describe, replays=False)
        self._own = own

    @overload
    def gradient(self, of: Callable[..., Any], /) -> Callable[..., Any]: ...
    @overload
    def gradient(self, of: str, /) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
    def gradient(self, of: Any, /) -> Any:
        """Take a closed form of the gradient by x, or with "y" by y, instead of reverse mode.

        It has the arguments of the loss's function and returns an array of x's shape. Curvature is
        its derivative. `tinyloss.testing.check_loss` compares it with the loss.

        Examples
        --------
        >>> import numpy as np, tinyloss
        >>> @tinyloss.loss
        ... def charbonnier(x, y, *, eps=1e-3):
        ...     xp = tinyloss.namespace(x)
        ...     return xp.sqrt((x - y) ** 2 + eps**2)
        >>> @charbonnier.gradient
        ... def slope(x, y, *, eps):
        ...     xp = tinyloss.namespace(x)
        ...     return (x - y) / xp.sqrt((x - y) ** 2 + eps**2)
        >>> tinyloss.grad(charbonnier)(np.array([3.0]), np.array([0.0]), eps=4.0).item()
        0.6
        """
        name = of if isinstance(of, str) else "x"
        names = self._own.differentiable
        if name not in names or not (name is of or callable(of)):
            raise TypeError(
                f"tinyloss.{self.__name__}.gradient: got {of!r}, expected a function, or "
                f"{' or '.join(map(repr, names))} before one"
            )
        closed: Any = of
        take = partial(self._own.close, name)
        return take if name is of else take(closed)

    def with_options(self, **parameters: Any) -> TargetLoss:
        """Return the loss with its parameters set once: an object that adds and scales.

        Examples
        --------
        >>> import tinyloss
        >>> @tinyloss.loss
        ... def charbonnier(x, y, *, eps=1e-3):
        ...     return ((x - y) ** 2 + eps**2) ** 0.5
        >>> 0.7 * tinyloss.MSELoss() + 0.3 * charbonnier.with_options(eps=0.1)
        0.7 * MSELoss() + 0.3 * charbonnier.with_options(eps=0.1)
        """
        made: TargetLoss = self._configured(**parameters)
        return made

    @cached_property
    def _configured(self) -> Any:
        """The class of its objects."""
        parameters = {
            name: each
            for name, each in self.__signature__.parameters.items()
            if each.kind is each.KEYWORD_ONLY and name not in CallOptions.__annotations__
        }
        base = RowLoss if "axis" in parameters else TargetLoss
        body: dict[str, Any] = {
            name: each.default for name, each in parameters.items() if each.default != each.empty
        }
        body |= {
            "__annotations__": dict.fromkeys(parameters, Any),
            "function": self,
            "several_axes": True,
            "maker": self.with_options,
        }
        return type(f"{self.__name__}.with_options", (base,), body)


@overload
def loss(value: Callable[..., Any], /) -> CustomLoss: ...
@overload
def loss(
    *, rowwise: bool = False, labels: bool = False
) -> Callable[[Callable[..., Any]], CustomLoss]: ...
def loss(
    value: Callable[..., Any] | None = None, /, *, rowwise: bool = False, labels: bool = False
) -> CustomLoss | Callable[[Callable[..., Any]], CustomLoss]:
    """Make a loss of a function that returns the loss of each item.

    The result is called like the losses of this package: with weight, where, reduction and
    denominator, on arrays of any library. Its derivatives come from the function by reverse mode.
    `with_options(...)` of it is an object like those of tinyloss's classes.

    Parameters
    ----------
    value
        A function (x, y, *, parameters) over `tinyloss.namespace(x)`; arrays between y and the star
        are further arguments, which broadcast to x; those of its shape have a gradient. It uses
        array-API functions, operators and Python numbers, and `xp.where` instead of `if` on data.
        Parameters are keyword-only: Python numbers, strings, None, or tuples of these. Numbers read
        from elsewhere (a global, a closure, an attribute) may change between calls. Lists,
        dictionaries and objects may not be read, since their change cannot be detected.
    rowwise
        Whether an item is a row of classes, not an element. The function then gets the classes
        in the last dimension, reduces over axis=-1 and returns one loss for each row. The loss
        takes an `axis`; of values y also a tuple of axes, which then make a row. Of pairs of
        classes, as x[..., :, None] - x[..., None, :], it takes sums.
    labels
        Whether y holds class indices, one for each row; implies rowwise.
        `y[..., None] == xp.arange(x.shape[-1])` tells the target's class.

    Notes
    -----
    An accurate value does not imply an accurate derivative. Reverse mode differentiates line by
    line, and terms of the derivative may cancel and lose digits. At the kink of abs, sign, clip,
    and of maximum and minimum with a number, the derivative is 0. Losses of elements have
    curvature; losses of rows have its diagonal, class by class.

    The function is recorded at the first call. One that reduces items or returns the wrong
    dimensions is refused, whatever the batch. One that cannot be recorded, because it uses
    functions of one library only, has a value but no derivatives, except the library's own.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> @tinyloss.loss
    ... def charbonnier(x, y, *, eps=1e-3):
    ...     xp = tinyloss.namespace(x)
    ...     return xp.sqrt((x - y) ** 2 + eps**2)
    >>> x, y = np.array([3.0, 0.0]), np.array([0.0, 0.0])
    >>> value, gradient = tinyloss.value_and_grad(charbonnier)(x, y, eps=4.0)
    >>> value.item(), gradient.round(6).tolist()
    (4.5, [0.3, 0.0])
    """
    if value is None:
        return partial(_make, rowwise=rowwise or labels, labels=labels)
    return _make(value, rowwise or labels, labels)


def _make(value: Callable[..., Any], rowwise: bool, labels: bool) -> CustomLoss:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"tinyloss.loss: got {value!r}, expected a function (x, y, *, parameters)")
    inside: Any = value
    while isinstance(inside, partial):
        inside = inside.func
    title: str = getattr(inside, "__name__", type(inside).__name__)
    signature = inspect.signature(value)
    keyword = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    arrays = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    more = arrays[2:]
    known = [*arrays, *[p.name for p in keyword]]
    taken = (*_OPTIONS, *_OF_ROWS)
    is_taken = "direction" in more or not {*taken}.isdisjoint(known)  # hvp's own
    if arrays[:2] != ["x", "y"] or list(signature.parameters) != known or is_taken:
        raise TypeError(
            f"tinyloss.loss: {title} has the signature {signature}, expected (x, y), further "
            f"arrays, and keyword-only parameters, none named {', '.join(taken)}"
        )
    options = {**_OF_ROWS, **_OPTIONS} if rowwise else _OPTIONS
    public = signature.replace(
        parameters=[
            *signature.parameters.values(),
            *[
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, default in options.items()
            ],
        ]
    )
    own = _Own(value, title, rowwise, labels, more)

    def describe(*args: Any, **kwargs: Any) -> Request:
        bound = public.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        params = {p.name: _parameter(given[p.name]) for p in keyword}
        formula = own.formula(params, given.get("axis_name"))
        asked = {name: given[name] for name in options}
        of_values, of_labels = (None, formula) if labels else (formula, None)
        further = {name: given[name] for name in more}
        return Request(
            of_values, given["x"], given["y"], params, further, labels=of_labels, **asked
        )

    describe.__name__ = title
    for attribute in ("__qualname__", "__module__", "__doc__"):
        setattr(describe, attribute, getattr(inside, attribute, title))
    describe.__signature__ = public  # type: ignore[attr-defined]
    return CustomLoss(describe, own)


def _parameter(value: Any) -> Any:
    """Return a parameter with its numbers as Python's own."""
    if isinstance(value, Enum):
        return value
    if value.__class__ is tuple:
        return tuple(map(_parameter, value))
    number = plain_number(value)
    return value if number is None else number


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class _Own:
    """A user's function and its formulas, one for each state of what it reads."""

    def __init__(
        self,
        function: Callable[..., Any],
        title: str,
        rowwise: bool,
        labels: bool,
        more: Sequence[str],
    ) -> None:
        self._function, self._title = function, title
        self._rowwise, self._labels, self._more = rowwise, labels, more
        self.differentiable = ("x", *more) if labels else ("x", "y", *more)
        """The arguments that have a gradient."""
        self._closed: dict[str, Callable[..., Any]] = {}
        self._formulas: Cache[type[_Recorded]] = Cache()
        self._whole: Cache[type[_Recorded]] = Cache()
        """Those that go over a row in order, or over its pairs."""
        self._latest: tuple[Reads, type[Formula]] | None = None

    def close(self, name: str, gradient: Callable[..., Any]) -> Callable[..., Any]:
        """Take a closed form of the gradient by an argument, and return it."""
        own = inspect.signature(self._function).parameters.values()
        options = [each.name for each in own if each.kind is each.KEYWORD_ONLY]
        takes = inspect.signature(gradient)
        try:
            takes.bind(*range(len(own) - len(options)), **dict.fromkeys(options))
        except TypeError:
            raise TypeError(
                f"tinyloss.{self._title}.gradient: got a function of {takes}, expected one of "
                f"{inspect.signature(self._function)}, the arguments of the loss"
            ) from None
        self._closed = {**self._closed, name: gradient}
        self._formulas, self._whole, self._latest = Cache(), Cache(), None
        return gradient

    def _make(self) -> type["_Recorded"]:
        return _formula_of(
            self._function, self._title, self._rowwise, self._labels, self._more, self._closed
        )

    def formula(self, params: Mapping[str, Any], axis_name: Any) -> type[Formula]:
        """Return the formula for these parameters and the values that the function reads now."""
        latest = self._latest
        if latest is not None and axis_name is None and latest[0].hold(params):
            return latest[1]
        reads = Reads((self._function, *self._closed.values()), params)
        formula = self._check(reads, params, axis_name)
        self._latest = reads, formula
        return formula

    def _check(self, reads: Reads, params: Mapping[str, Any], axis_name: Any) -> type[Formula]:
        for name, key in zip(params, reads.params, strict=True):
            changing = _changing_in(key)
            if changing is not None:
                raise TypeError(
                    f"tinyloss.{self._title}: {name} is {_a(changing.kind)}, expected a Python "
                    "number, a string, None or a tuple of these: an array is x, y or a weight"
                )
        formula = self._formulas.made(reads.state, self._make)
        try:
            program = formula.recorded((), "float32", params)
            if program.goes_along or program.compares:
                ways = program.goes_along, program.compares
                formula = self._whole.made((reads.state, ways), lambda: _whole(self._make(), *ways))
                if axis_name is not None:
                    way = "a row in order" if program.goes_along else "pairs of a row"
                    raise TypeError(
                        f"tinyloss.{self._title}: its formula goes over {way}, which no row in "
                        "parts can, expected axis_name=None"
                    )
        except Unrecordable as error:
            if axis_name is not None:
                raise TypeError(f"{error}: classes in parts need a recorded formula") from None
            return formula
        for each in reads.changing:
            raise TypeError(
                f"tinyloss.{self._title}: its formula reads {each.name}, {_a(each.kind)}, which "
                "may change unseen, expected numbers, strings and tuples: make it a keyword-only "
                "parameter"
            )
        return formula


def _whole(formula: type["_Recorded"], along: bool, compares: bool) -> type["_Recorded"]:
    formula.in_order, formula.paired = along, compares
    return formula


def _changing_in(key: Any) -> Changing | None:
    if isinstance(key, Changing):
        return key
    inside: Any = key if key.__class__ is tuple else ()
    return next((found for each in inside if (found := _changing_in(each)) is not None), None)


def _formula_of(
    per_item: Callable[..., Any],
    title: str,
    in_rows: bool,
    labels: bool,
    more: Sequence[str],
    closed: Mapping[str, Callable[..., Any]],
) -> type["_Recorded"]:
    each = Role(per_class=in_rows)
    inputs = {"x": each, "y": LABEL if labels else each, **dict.fromkeys(more, each)}
    programs: Cache[Program | str] = Cache()

    def make(by: tuple[str, ...], dtype: str, params: Mapping[str, Any]) -> Program | str:
        gradient = closed.get(by[0]) if by else None
        function, of_row = (per_item, True) if gradient is None else (gradient, not in_rows)

        def item(**arrays: Symbol) -> Any:
            result = function(*arrays.values(), **params)
            expected = "one number for each row" if in_rows else "one for each element"
            is_one = isinstance(result, Symbol) and result.node.per_item and result.last != of_row
            if (
                not is_one
                or result.pairs is not None
                or result.node.boolean
                or result.node.per_class == of_row
            ):
                shape = "(...,)" if of_row else "(..., C)"
                raise BadFormula(
                    f"a loss's {'formula' if gradient is None else 'gradient'} returned "
                    f"{_what(result)}, expected an array of shape {shape}, "
                    f"{expected if of_row else 'one number for each class'}"
                )
            return result

        try:
            program = record(item, inputs, dtype=dtype)
        except Unrecordable as error:
            return _told(error, title, function)
        except BadFormula as error:
            raise BadFormula(_told(error, title, function)) from None
        for name in by if gradient is None else by[1:]:
            program = differentiate(program, name)
        return program

    class _Custom(_Recorded):
        name = title
        rowwise = in_rows
        several_axes = in_rows and not labels
        names = tuple(inputs)
        roles: ClassVar[Mapping[str, Role]] = {"y": LABEL} if labels else {}

        def value(self) -> Any:
            x = self.arrays["x"]
            if self.paired and not isinstance(x, Symbol):
                return self.derivative()  # its own lines would make arrays of all pairs
            result = per_item(*self.arrays.values(), **self.params)
            if not isinstance(x, Symbol):  # its shape was checked when it was recorded
                _check_shape(result, x.shape[:-1] if in_rows else x.shape, title)
            return result

        @staticmethod
        def recorded(by: tuple[str, ...], dtype: str, params: Mapping[str, Any]) -> Program:
            key = (by, dtype, exact(tuple(params.items())))
            known = programs.made(key, lambda: make(by, dtype, params))
            if isinstance(known, str):
                raise Unrecordable(known)
            return known

    class _CustomOfValues(_Custom):
        def grad_y(self) -> Any:
            return self.derivative("y")

    made = _Custom if labels else _CustomOfValues
    for array in more:
        setattr(made, f"grad_{array}", partialmethod(made.derivative, array))
    return made


class _Recorded(Formula):
    """A formula whose derivatives are those of its recorded value."""

    steady = True
    names: ClassVar[tuple[str, ...]]
    """The arguments that are arrays, in their order."""

    def __init__(self, /, x: Any, y: Any, **given: Any) -> None:
        self.arrays = {"x": x, "y": y, **{name: given.pop(name) for name in self.names[2:]}}
        self.params = given

    @staticmethod
    def recorded(by: tuple[str, ...], dtype: str, params: Mapping[str, Any]) -> Program:
        """Return the program of the value or of its derivative; raises Unrecordable."""
        raise NotImplementedError

    def grad_x(self) -> Any:
        """Return the derivative by x."""
        return self.derivative("x")

    def curvature(self) -> Any:
        """Return the second derivative by x; of a row one class after the other."""
        if not self.rowwise:
            return self.derivative("x", "x")
        x = self.arrays["x"]
        if isinstance(x, Symbol):
            raise Unrecordable("a row's curvature is computed one class after the other")
        xp = namespace(x)
        places, found = xp.arange(x.shape[-1], **beside(x)), xp.zeros_like(x)
        for place in range(x.shape[-1]):
            own = places == place
            way = xp.where(own, xp.ones_like(x), 0.0)
            given = {**self.arrays, **self.params, "direction": way}
            found = xp.where(own, along_of_rows(type(self), given), found)
        return found

    boosting_curvature = steep

    def derivative(self, *by: str) -> Any:
        """Return a derivative, the value itself by nothing, run on the arrays."""
        x = self.arrays["x"]
        program = self.recorded(by, dtype_name(x.dtype), self.params)
        return run(program, namespace(x), self.arrays)[0]


def _check_shape(result: Any, items: tuple[Any, ...], title: str) -> None:
    shape: Any = getattr(result, "shape", None)
    if shape is None or len(shape) != len(items):
        fits = False
    else:  # a length may be unknown: None, or NaN in Dask
        pairs = zip(shape, items, strict=True)
        fits = all(a == b or a != a or b != b or a is None or b is None for a, b in pairs)
    if not fits:
        what = _what(result) if shape is None else f"an array of shape {tuple(shape)}"
        raise BadFormula(
            f"tinyloss.{title}: its formula returned {what}, expected one of shape {tuple(items)}"
        )


def _what(result: Any) -> str:
    if not isinstance(result, Symbol):
        return "None" if result is None else _a(type(result).__name__)
    booleans = "of booleans " if result.node.boolean else ""
    return f"an array {booleans}{result.words}"


_HERE = str(Path(__file__).parent)
_ENGINE = str(Path(__file__).parent / "_engine" / "run.py")


def _told(error: Exception, title: str, function: Any) -> str:
    """Return an error's message with the loss's name and the user's file and line."""
    own = getattr(function, "__code__", None)
    lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    outside = [each for each in lines if not each[0].startswith(_HERE)]
    if own is not None:
        at_home = [each for each in outside if each[0] == own.co_filename]
        outside = at_home or outside or [(own.co_filename, own.co_firstlineno)]
    place = " ({}, line {})".format(*outside[-1]) if outside else ""
    if any(file == _ENGINE for file, _ in lines):
        error = Unrecordable(
            "a loss's formula called a function of tinyloss, which cannot be recorded, "
            "expected the formula of it"
        )
    return f"tinyloss.{title}: {error}{place}"
