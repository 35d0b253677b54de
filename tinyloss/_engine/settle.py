"""A request settled: checked, its arrays brought to one library and layout, its kind told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple
from warnings import warn

from tinyloss._arrays import (
    are_one,
    astype,
    axes_last,
    compiling,
    compute_dtype,
    dtype_name,
    has_dtype,
    index_dtype,
    is_host,
    kind,
    result_dtype,
    widest_dtype,
)
from tinyloss._calls import other_reduction, users_level
from tinyloss._engine import registry
from tinyloss._engine.checks import (
    broadcasts,
    brought,
    check_apart,
    check_out,
    each_row,
    like,
    namespace_of,
    one_more,
    other_axis,
    repeated,
    same_shape,
    show,
    show_shape,
)
from tinyloss._engine.job import Argument, Domain, Job, Kind
from tinyloss._engine.request import REDUCTIONS, Refusal, Request, Want
from tinyloss._engine.targets import domain_of, look_at, may_look
from tinyloss._engine.weights import Rule, normal, normal_array, rows_of, weighed
from tinyloss._formula import NUMBER, Formula, exact
from tinyloss.typing import Namespace

_WEIGHING = ("weight", "where", "class_weight", "denominator")


class Settled(NamedTuple):
    """A job, and the sum of the weights where sums are wanted."""

    job: Job
    total: Any = None


def settle(request: Request, want: Want, fuses: bool = False) -> "tuple[Form, Settled]":
    """Check a request and settle it; also return its form.

    `fuses`: the form is kept, so that what it does with arrays may be compiled.
    """
    if request.reduction not in REDUCTIONS:
        raise Refusal(
            f'reduction is {request.reduction!r}, expected "mean", "sum" or "none"'
            + other_reduction(request.reduction)
        )
    if want.sums and (request.reduction != "mean" or request.denominator is not None):
        what = "denominator" if request.reduction == "mean" else "reduction"
        raise Refusal(f"{what} is {getattr(request, what)!r}, expected a plain mean to take apart")
    xp = namespace_of(request.x)
    with registry.quiet(xp):
        y, more = _brought(request, xp)
        if want.direction is not None:
            check_direction(request, more["direction"])
        form = _form_of(request, want, xp, y, more, fuses)
        return form, form.settled(request, want.out, y, more)


@dataclass(frozen=True)
class Form:
    """What the layout of a request's arrays and its options decide, whatever the arrays hold.

    It keeps none of them. So it is found once for all requests that differ in nothing else.
    """

    want: Want
    """What is wanted, without the arrays to write into."""
    rule: Rule
    formula: type[Formula]
    axes: tuple[int, ...] | None
    """Which axes the caller has for a row's, in ascending order, if not one at the end."""
    dtypes: Mapping[str, Any]
    """What arguments are converted to before all else."""
    domain: Domain | None
    looks: bool
    """Whether the targets are looked at."""
    classes: Any
    weighs: bool
    """Whether what arrays hold decides what items weigh or what the mean divides by."""
    given: tuple[str, ...]
    """The arrays of a request that decide it besides x."""
    fused: Any
    """`weighed` as one operation of the library, where there is such a thing."""
    divisor: Any
    """What the mean divides by, if not."""
    parameters: "_Parameters | None"
    """What `_parameters` returns, where none is an array."""
    brings: bool
    """Whether an array comes from another library."""
    plain: bool
    """Whether arrays are only handed on: nothing is brought, converted or computed."""
    warns: bool
    kinds: dict[Any, Kind]
    """The kinds of its jobs, by whether there are weights, a divisor, and raw weights."""

    def again(self, request: Request, out: tuple[Any, ...]) -> Settled:
        """Return another request of this form settled."""
        try:
            if self.plain:
                return self.settled(request, out, request.y, request.arrays)
            with registry.quiet(self.rule.xp):
                y, more = request.y, request.arrays
                if self.brings:
                    y, more = _brought(request, self.rule.xp)
                return self.settled(request, out, y, more)
        except Refusal as refusal:
            raise refusal.of(request.name, request.called) from None

    def settled(
        self, request: Request, out: tuple[Any, ...], y: Any, more: Mapping[str, Any]
    ) -> Settled:
        """Return a request of this form settled: of x, and of what was brought beside it."""
        xp, index, dtype = self.rule.xp, self.rule.index, self.rule.dtype
        formula, axes = self.formula, self.axes
        x = request.x
        if self.warns and not compiling():
            warn(
                f"tinyloss.{request.name}: x has one class, whose probability is always 1, so that "
                "the loss says nothing; binary_cross_entropy_with_logits is for one logit",
                RuntimeWarning,
                stacklevel=users_level(),
            )
        arrays = {"x": x, "y": y, **more}
        if axes is not None:
            arrays = {
                name: axes_last(xp, each, axes) if formula.role(name).per_class else each
                for name, each in arrays.items()
            }
        x, y = arrays["x"], arrays["y"]
        for name, to in self.dtypes.items():
            array = arrays[name]
            signs = formula.signed and kind(array.dtype) == "bool"
            arrays[name] = xp.astype(array, to) * 2 - 1 if signs else astype(xp, array, to)
        weight, divisor, total, factor = None, self.divisor, None, None
        if self.weighs:
            if self.fused is None:
                found = weighed(self.rule, request, x, arrays["y"])
            else:
                given = {name: getattr(request, name) for name in self.given}
                found = self.fused(self.rule, given, x, arrays["y"])
            weight, divisor, total, own, factor = found
            arrays |= own
        elif index is not None:
            arrays["y"] = astype(xp, y, index)
        held, numbers, static = self.parameters or _parameters(request, xp, x, formula, dtype)
        key = weight is not None, divisor is not None, factor is not None
        of_call = self.kinds.get(key)
        if of_call is None:
            of_call = self._kind(request, arrays, held, tuple(numbers), static, *key)
            self.kinds[key] = of_call
        if out:
            names = [*of_call.grads, "x"][: len(out)]
            moved = [axes is not None and formula.role(name).per_class for name in names]
            for name, into, moves in zip(names, out, moved, strict=True):
                shape = tuple(request.x.shape) if moves else tuple(arrays[name].shape)
                check_out(xp, into, shape, result_dtype(arrays[name].dtype, dtype))
            check_apart(xp, out)
            if axes is not None:
                pairs = [*zip(out, moved, strict=True)]
                apart = not all(are_one(into, axes) for into, moves in pairs if moves)
                out = tuple([axes_last(xp, into, axes) if moves else into for into, moves in pairs])
                out = () if apart else out
        look = self.look(lambda: request, arrays["y"], weight) if self.looks else None
        ignored = request.ignore_index
        arrays |= held
        return Settled(
            Job(of_call, xp, arrays, weight, divisor, numbers, out, ignored, look, factor or 1.0),
            total,
        )

    def look(self, ask: Callable[[], Request], y: Any, weight: Any) -> Callable[[], bool]:
        """Return what looks at the targets; `ask` returns the request, for the message."""
        assert self.domain is not None
        return partial(look_at, ask, self.rule.xp, y, self.domain, self.classes, weight)

    def _kind(
        self,
        request: Request,
        arrays: Mapping[str, Any],
        held: Mapping[str, Any],
        numbers: tuple[str, ...],
        static: Mapping[str, Any],
        weighted: bool,
        divided: bool,
        raw: bool,
    ) -> Kind:
        xp, dtype, formula, want = self.rule.xp, self.rule.dtype, self.formula, self.want
        arguments = [
            Argument(name, each.dtype, formula.role(name)) for name, each in arrays.items()
        ]
        arguments += [Argument(name, each.dtype, NUMBER) for name, each in held.items()]
        grads = tuple([_argument(formula, request, arrays, number) for number in want.argnums])
        # kernels that would be the same are not compiled twice
        wide = want.wide and any(
            result_dtype(arrays[name].dtype, dtype) != dtype for name in (*grads, "x")
        )
        return Kind(
            formula=formula,
            arguments=tuple(arguments),
            dtype=dtype,
            static=static,
            static_key=exact(tuple(static.items())),
            numbers=numbers,
            weighted=weighted,
            raw=raw,
            divided=divided,
            reduce=request.reduction != "none" and not want.curvature,
            value=want.value,
            grads=grads,
            curvature=want.curvature,
            value_dtype=widest_dtype(xp, arrays["x"]) if want.sums else None,
            unchecked=self.domain,
            axis_name=request.axis_name,
            classes=None if request.axis_name is None else self.classes,
            wide=wide,
        )


def _form_of(
    request: Request, want: Want, xp: Namespace, y: Any, more: Mapping[str, Any], fuses: bool
) -> Form:
    """Return the form of a request, whose further arrays are brought to its library."""
    x, axes, classes = request.x, None, None
    moved, formula = x, request.formula
    if formula is None or formula.rowwise:
        formula, axes = _rowwise(request, x, y)
        moved = x if axes is None else axes_last(xp, x, axes)
        classes = rows_of(request, xp, moved).length()
    else:
        _check_elements(formula, x, y)
    of_y = formula.role("y")
    labels, computes = of_y.integer, not of_y.keeps_dtype
    # A list or a number has no dtype of its own to widen the computation by.
    wide = has_dtype(request.y) or hasattr(request.y, "__array__")
    beside = [more[name] for name in request.called.keys() & more if has_dtype(more[name])]
    dtype = compute_dtype(xp, x, *((y,) if wide and computes else ()), *beside)
    dtypes = {
        name: dtype
        for name, array in more.items()
        if not has_dtype(request.arrays[name]) and kind(array.dtype) == "float"
    }
    if formula.signed and kind(y.dtype) == "bool":  # these stand for -1 and 1
        dtypes["y"] = xp.float32 if wide else dtype
    elif not wide and computes and kind(y.dtype) == "float":
        dtypes["y"] = dtype
        y = astype(xp, y, dtype)
    domain = domain_of(formula, labels, y)
    arrays = ("formula", "labels", "x", "y", *_WEIGHING)
    nothing: Any = dict.fromkeys(arrays) | {"params": (), "arrays": (), "called": ()}
    takes_classes, indexed = "class_weight" in formula.roles, labels or formula.ranks is not None
    index = index_dtype(xp, y) if indexed else None
    counts = formula.counts
    rule = Rule(
        *(request._replace(**nothing), xp, formula.rowwise, takes_classes, index, dtype),
        sums=want.sums,
        counts=counts,
    )
    given = [name for name in _WEIGHING if getattr(request, name) is not None]
    given += ["y"] if request.ignore_index is not None else []
    weighs, divisor = True, None
    if counts is None and not want.sums and given in ([], ["denominator"]):
        divisor = weighed(rule, request, moved, y).divisor
        weighs = not (divisor is None or isinstance(divisor, int | float))
    brings = y is not request.y or any(more[name] is not request.arrays[name] for name in more)
    held = any(map(_is_array, request.params.values()))
    fused = None
    if fuses and all(type(getattr(request, name)) is type(x) for name in given):
        fused = registry.fused(xp, weighed)
    if fuses and not want.sums and request.class_weight is None and counts is None:
        rule = rule._replace(raw=getattr(registry.backend_of(xp), "RAW", False))
    return Form(
        want=want._replace(out=()),
        rule=rule,
        formula=formula,
        axes=axes,
        dtypes=dtypes,
        domain=domain,
        looks=domain is not None and may_look(y),
        classes=classes,
        weighs=weighs,
        given=tuple(given),
        fused=fused,
        divisor=divisor,
        parameters=None if held else _parameters(request, xp, x, formula, dtype),
        brings=brings,
        plain=not (brings or dtypes or weighs),
        warns=formula.compares_classes
        and classes == 1
        and request.axis_name is None
        and not request.of_pairs,
        kinds={},
    )


def _brought(request: Request, xp: Namespace) -> tuple[Any, dict[str, Any]]:
    """Return y and the arrays besides, which broadcast to x, as arrays of its library."""
    x = request.x
    y = brought(xp, x, "y", request.y)
    if request.y_of_columns and len(y.shape) == len(x.shape) - 1:
        if not same_shape(tuple(y.shape), tuple(x.shape[:-1])):
            raise Refusal(
                f"y has shape {show(y)}, expected {show(x)}, the shape of x, or "
                f"{show_shape(x.shape[:-1])}, one for each row of it"
            )
        y = repeated(xp, x, y, len(x.shape) - 1)
    more: dict[str, Any] = {}
    formula = request.formula or request.labels or Formula
    for name, given in request.arrays.items():
        array = more[name] = brought(xp, x, name, given)
        if name in request.called:
            if not same_shape(array.shape, x.shape):
                raise Refusal(
                    f"{name} has shape {show(array)}, expected {show(x)}, the shape of x"
                    + one_more(x.shape, array.shape)
                )
            continue
        if not broadcasts(array.shape, x.shape):
            raise Refusal(
                f"{name} has shape {show(array)}, expected one that broadcasts to x's {show(x)}"
                + each_row(name, array.shape, x.shape)
            )
        repeats = formula.rowwise and formula.role(name).per_item
        if repeats and not same_shape(array.shape, x.shape):
            # a sum over classes would count one number once
            more[name] = like(xp, x, array)
    return y, more


def _check_elements(formula: type[Formula], x: Any, y: Any) -> None:
    """Refuse a target that does not fit a loss of elements."""
    if not same_shape(y.shape, x.shape):
        raise Refusal(
            f"y has shape {show(y)}, expected {show(x)}, the shape of x"
            + one_more(x.shape, y.shape)
        )
    takes_some = formula.binary or formula.signed
    if takes_some and kind(x.dtype) == "int" and kind(y.dtype) == "float":
        raise Refusal(
            f"x has dtype {dtype_name(x.dtype)} beside y of dtype {dtype_name(y.dtype)}, "
            "expected a floating prediction first, then the target",
            TypeError,
        )


def check_direction(request: Request, direction: Any) -> None:
    """Refuse a direction that is not a number for each element of x, or no name of its own."""
    x = request.x
    if not same_shape(direction.shape, x.shape):
        raise Refusal(f"direction has shape {show(direction)}, expected {show(x)}, the shape of x")
    if "direction" in request.params:
        raise Refusal("has a parameter direction, expected another name beside hvp's", TypeError)


def _is_array(parameter: Any) -> bool:
    """Return whether a parameter is an array; torch.compile cannot ask a number for a dtype."""
    return not isinstance(parameter, int | float) and hasattr(parameter, "dtype")


_Parameters = tuple[dict[str, Any], dict[str, float], dict[str, Any]]


def _parameters(
    request: Request, xp: Namespace, x: Any, formula: type[Formula], dtype: Any
) -> _Parameters:
    """Return the parameters that are held in arrays, that are numbers, and that choose a program.

    A float is a number of the call; what is an integer, a boolean or a word chooses the program.
    """
    held: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    static: dict[str, Any] = {}
    for name, value in request.params.items():
        if formula.steady:
            static[name] = value
        elif isinstance(value, float):
            numbers[name] = value
        elif not _is_array(value):
            static[name] = value
        elif is_host(value):
            numbers[name] = float(value)
        else:
            held[name] = normal_array(brought(xp, x, name, value), xp, dtype)
    return held, normal(numbers, xp, dtype), normal(static, xp, dtype)


def _rowwise(request: Request, x: Any, y: Any) -> tuple[type[Formula], tuple[int, ...] | None]:
    """Tell labels from a target of x's shape; also return a row's axes, None for the last alone."""
    ndim, several = len(x.shape), request.formula is not None and request.formula.several_axes
    axes = (
        row_axes(x, request.axis)
        if several
        else (class_axis(x, request.axis, may_be_empty=request.of_pairs),)
    )
    items, axis = without(x.shape, axes), axes[-1]
    formula = request.formula
    expected = x.shape if formula is None or formula.role("y").per_class else items
    if formula is None or (request.labels is not None and len(y.shape) != ndim):
        formula, expected = request.labels, items
    if formula is None or not same_shape(y.shape, expected):
        shapes = [] if request.labels is None else [f"{show_shape(items)} (class indices)"]
        shapes += [] if request.formula is None else [f"{show(x)} (the shape of x)"]
        raise Refusal(
            f"y has shape {show(y)}, expected {' or '.join(shapes)} for x of shape {show(x)}"
            + (f" with the classes along axis {request.axis}" if axes != (ndim - 1,) else "")
            + (one_more(items, y.shape) if request.labels is not None else "")
            + other_axis(x.shape, y.shape, axis)
        )
    if formula is request.labels:
        if 0 not in items:  # there is something to find
            class_axis(x, request.axis)
        if kind(y.dtype) == "float" and 0 not in y.shape:  # an empty list has any dtype
            raise Refusal(
                f"y has dtype {dtype_name(y.dtype)}, expected integers: with one dimension fewer "
                "than x it holds class indices; if they are, convert them (astype to int64)",
                TypeError,
            )
    elif request.ignore_index is not None:
        raise Refusal(
            "ignore_index is for class indices, expected where= beside a target of x's shape"
        )
    return formula, None if axes == (ndim - 1,) else axes


def without(shape: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """Return a shape without axes that are counted from the front."""
    return tuple([length for axis, length in enumerate(shape) if axis not in axes])


def row_axes(x: Any, axis: Any) -> tuple[int, ...]:
    """Return the axes that make a row, counted from the front, in ascending order."""
    if axis.__class__ is not tuple:
        return (class_axis(x, axis),)
    axes = tuple(sorted([class_axis(x, each) for each in axis]))
    if not axes or len({*axes}) < len(axes):
        raise Refusal(f"axis is {axis!r}, expected an integer or different ones")
    return axes


def class_axis(x: Any, axis: Any, name: str = "axis", may_be_empty: bool = False) -> int:
    """Return the class axis, counted from the front."""
    ndim = len(x.shape)
    if ndim == 0:
        raise Refusal("x is 0-d, expected at least the class axis")
    integer = type(axis) is int or (isinstance(axis, Integral) and not isinstance(axis, bool))
    if not integer or not -ndim <= int(axis) < ndim:
        raise Refusal(f"{name} is {axis!r}, expected an integer from {-ndim} to {ndim - 1}")
    if x.shape[axis] == 0 and not may_be_empty:
        raise Refusal(f"x has shape {show(x)}, expected at least one number along axis {axis}")
    return int(axis) % ndim


def _argument(
    formula: type[Formula], request: Request, arrays: Mapping[str, Any], argnum: int
) -> str:
    """Return the name of the argument to differentiate by."""
    names = [*request.called, *[name for name in arrays if name not in request.called]]
    if not 0 <= argnum < len(names):
        raise Refusal(f"argnums holds {argnum!r}, expected integers from 0 to {len(names) - 1}")
    name = names[argnum]
    if name == "y" and formula.role("y").integer:
        raise Refusal("has no derivative by y, which holds class indices", TypeError)
    if not hasattr(formula, f"grad_{name}"):
        raise Refusal(f"has no derivative by {name}", TypeError)
    if not formula.role(name).per_class and formula.rowwise:
        return name  # one number for each row, as was checked
    array, x = arrays[name], arrays["x"]
    given: Any = request.y if name == "y" and request.y_of_columns else request.arrays.get(name)
    if has_dtype(given):  # as it came
        array, x = given, request.x
    if not same_shape(array.shape, x.shape):
        raise Refusal(
            f"{name} has shape {show(array)}, expected {show(x)}, the shape of x, to "
            "differentiate by it"
        )
    return name
