"""The cases: a selection that combines each shape, layout, dtype and option with many others."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from math import prod
from typing import Any, TypeAlias

from tinyloss._arrays import kind
from tinyloss.testing._arrays import INTEGERS, LAYOUTS, Library
from tinyloss.testing._subjects import DOMAINS, Subject

Layouts: TypeAlias = tuple[str, str, str]
"""Of x, y and weights in memory."""

Planned: TypeAlias = tuple[int, Mapping[str, Any]]
"""A case before its number: the index of one of the loss's variants, and fields to set."""

_POINT_SHAPES: tuple[tuple[int, ...], ...] = (
    (7,), (), (101,), (3, 5), (16,), (0,), (5, 7, 3), (1,), (4099,), (17, 1), (2, 0, 3), (1, 31),
    (64, 33), (131075,),
)  # fmt: skip
_ROW_SHAPES: tuple[tuple[int, ...], ...] = (
    (7, 10), (3,), (31, 3), (2, 3, 5), (5, 1), (0, 3), (33, 7), (1, 64), (9, 65), (2, 1, 2),
    (4, 100), (3, 257), (2, 1000), (3, 5003), (2, 0, 3), (29, 5003), (13109, 10),
)  # fmt: skip


_LARGE = 100_000
"""Arrays of more elements are for several threads, and tried with few options."""


def _shapes(subject: Subject) -> tuple[tuple[int, ...], ...]:
    """Return shapes of x, the class axis last; the last is large."""
    shapes = _ROW_SHAPES if subject.rows else _POINT_SHAPES
    return tuple([each for each in shapes if each[-1] < 300]) if subject.paired else shapes


_UNWEIGHTED: tuple[Mapping[str, Any], ...] = (
    {"reduction": "sum"},
    {"denominator": "number"},
    {"denominator": "array"},
    {"special": "nan"},
    {"special": "nan", "reduction": "sum"},
    {"out": "fresh"},
    {"out": "x"},
    {"out": "strided"},
)
_WEIGHTED: tuple[Mapping[str, Any], ...] = (
    {"weight": "full"},
    {"weight": "row"},
    {"weight": "number", "reduction": "sum"},
    {"weight": "zeros", "special": "poison"},
    {"where": "full", "special": "poison", "reduction": "sum"},
    {"where": "row", "weight": "full", "denominator": "array"},
    {"where": "none", "special": "poison"},
    {"where": "full", "out": "x"},
    {"weight": "full", "special": "nan"},
)
_IGNORED: tuple[Mapping[str, Any], ...] = ({"ignore_index": -100, "special": "poison"},)
_WEIGHTED_LABELS: tuple[Mapping[str, Any], ...] = (
    *_IGNORED,
    {"ignore_index": 1, "weight": "full"},
    {"class_weight": True},
    {"special": "range"},
    {"special": "range", "weight": "zeros"},
)

# Each needs a program of its own, so without `full` each loss is tried with a few of them.
_EXTRAS: tuple[Mapping[str, Any], ...] = (
    {"reduction": "none"},
    {"dtypes": ("float64", "float64", "float64")},
    {"want": "grad_and_hess"},
    {"dtypes": ("float16", "float32", "float32")},
    {"argnums": (1,)},
    {"dtypes": ("float32", "bool", "float32")},
    {"want": "value"},
    {"dtypes": ("bfloat16", "bfloat16", "bfloat16")},
    {"reduction": "none", "special": "wild"},
    {"argnums": (0, 1)},
    {"dtypes": ("float32", "int8", "float64")},
    {"want": "grad"},
    {"dtypes": ("int32", "float32", "float32")},
    {"class_weight": True},
    {"dtypes": ("float32", "float64", "float32")},
    {"argnums": (0, 1, 2)},
    {"dtypes": ("uint8", "uint8", "float32")},
    {"want": "grad_and_hess", "weight": "zeros", "special": "poison"},
    {"mask": "full"},
    {"mask": "row", "weight": "zeros", "special": "poison"},
    {"mask": "full", "class_weight": True, "ignore_index": -100},
)
_DTYPES = (
    ("float32", "float32", "float32"),
    ("float64", "float64", "float64"),
    ("float16", "float16", "float16"),
    ("bfloat16", "bfloat16", "float32"),
    ("float16", "float32", "float32"),
    ("float32", "float64", "float32"),
    ("float32", "bool", "float64"),
    ("float64", "int8", "float32"),
    ("bfloat16", "uint16", "float32"),
    ("int64", "float32", "float32"),
    ("uint8", "float16", "float32"),
)
_WANTS = ("value_and_grad", "grad_and_hess", "value", "grad")
_ARGNUMS = ((0,), (1,), (2,), (0, 1), (0, 1, 2))


@dataclass(frozen=True)
class Case:
    """One call."""

    number: int
    subject: Subject
    params: Mapping[str, Any]
    domain: tuple[str, str]
    shape: tuple[int, ...]
    """Of x, the class axis last."""
    dtypes: tuple[str, str, str] = ("float32", "float32", "float32")
    """Of x, y and weights."""
    layouts: Layouts = ("plain", "plain", "plain")
    axis: int = -1
    want: str = "value_and_grad"
    argnums: tuple[int, ...] = (0,)
    weight: str = ""
    where: str = ""
    class_weight: bool = False
    ignore_index: int | None = None
    mask: str = ""
    reduction: str = "mean"
    denominator: str = ""
    special: str = ""
    """"poison": NaN and infinities in items that are left out. "nan": in items that count. "wild":
    numbers of every magnitude. "range": class indices out of range."""
    out: str = ""
    seed: int = 0

    def __str__(self) -> str:
        said = [f"#{self.number} {self.subject.name}{' labels' if self.subject.labels else ''}"]
        said += [f"{name}={value}" for name, value in self.params.items()]
        for each in fields(self)[3:]:
            value = getattr(self, each.name)
            if value != each.default or each.default is MISSING or each.name in ("dtypes", "seed"):
                said.append(f"{each.name}={value}")
        return " ".join(said)

    @property
    def items(self) -> tuple[int, ...]:
        return self.shape[:-1] if self.subject.rows else self.shape

    @property
    def reduced(self) -> bool:
        return self.reduction != "none" and self.want != "grad_and_hess"

    @property
    def differentiated(self) -> tuple[int, ...]:
        if self.want == "value":
            return ()
        return (0,) if self.want == "grad_and_hess" else self.argnums


def _consistent(case: Case, can_write: bool) -> Case | None:
    """Return the case without fields that exclude each other, None if the loss has no such call."""
    subject, (x_dtype, y_dtype, w_dtype) = case.subject, case.dtypes
    if not subject.by:
        alone = Case(case.number, subject, case.params, case.domain, case.shape, case.dtypes)
        layouts, axis, seed = case.layouts, case.axis, case.seed
        return replace(alone, want="value", layouts=layouts, axis=axis, seed=seed)
    if not _possible(case, can_write):
        return None
    new, layouts = dict[str, Any](), case.layouts
    if subject.labels and kind(y_dtype) != "int":
        y_dtype = INTEGERS[case.number % len(INTEGERS)]
    if case.special == "range" or case.ignore_index is not None:
        y_dtype = "int64"
    if (
        (case.special == "wild" and x_dtype not in ("float32", "float64"))
        or (case.special == "nan" and kind(x_dtype) != "float")
        or (case.special == "range" and prod(case.items) < 3)
    ):
        new["special"] = ""
    if case.special or case.mask:
        layouts = _without(layouts, "broadcast", "slice")
    if case.out == "x":
        new["argnums"] = (0,)
        if layouts[0] in ("broadcast", "readonly"):
            layouts = ("plain", *layouts[1:])
    if case.reduction != "mean" or case.want == "grad_and_hess":
        new["denominator"] = ""
    if len(case.shape) == 1:
        new["axis"] = -1
    return replace(case, dtypes=(x_dtype, y_dtype, w_dtype), layouts=layouts, **new)


def _possible(case: Case, can_write: bool) -> bool:
    """Return whether the loss has the options and results that the case names."""
    subject = case.subject
    if case.class_weight and "class_weight" not in subject.options:
        return False
    if case.ignore_index is not None and "ignore_index" not in subject.options:
        return False
    if case.mask and case.params not in subject.masked:
        return False
    if case.special == "range" and not subject.indices:
        return False
    if case.want == "grad_and_hess" and not subject.curvature:
        return False
    floating = kind(case.dtypes[0]) == "float"
    if case.out and (not can_write or not floating or case.want == "value"):
        return False
    return set(case.differentiated) <= set(subject.by)


def _weighted(subject: Subject) -> Sequence[Mapping[str, Any]]:
    """Return the options that say what items weigh, of those that a loss has."""
    if subject.labels:
        return (*_WEIGHTED, *_WEIGHTED_LABELS)
    ignores = "ignore_index" in subject.options and not subject.rows
    return (*_WEIGHTED, *_IGNORED) if ignores else _WEIGHTED


def _without(layouts: Layouts, layout: str, instead: str) -> Layouts:
    x, y, weight = (instead if each == layout else each for each in layouts)
    return x, y, weight


class Selection:
    """Chooses the cases of a check, the same at each run.

    `writes` is whether results may be written into given arrays. `derives` is whether the library
    differentiates by itself, which it does only by floating arguments.
    """

    def __init__(self, library: Library, seed: int, *, writes: bool, derives: bool) -> None:
        self._np, self._dtypes, self._seed = library.numpy, library.dtypes, seed
        self._writes, self._derives = writes, derives

    def cases(
        self, subjects: Iterable[Subject], full: bool, classes: Sequence[int]
    ) -> Iterator[Case]:
        """Yield the cases; for `full` and `classes` see `check_backend`."""
        numbers = itertools.count()
        turn = itertools.count()
        for subject in subjects:
            if classes:
                plan = self._rows(subject, classes, None if full else next(turn))
            else:
                plan = self._all(subject) if full else self._some(subject, next(turn))
            for variant, changes in plan:
                number = next(numbers)
                case = self._case(subject, number, variant, subject.domains[variant], changes)
                if case is not None and self._takes(case):
                    yield case

    def _takes(self, case: Case) -> bool:
        """Return whether a library that differentiates by itself takes the case's arguments."""
        if not self._derives or case.want == "grad_and_hess":
            return True
        dtypes = [case.dtypes[min(argnum, 1)] for argnum in case.differentiated]
        return all(kind(dtype) == "float" for dtype in dtypes)

    def _case(
        self,
        subject: Subject,
        number: int,
        variant: int,
        domains: Sequence[tuple[str, str]],
        changes: Mapping[str, Any],
    ) -> Case | None:
        """Return a case, None if the loss has no such call.

        Other fields follow from the number, in steps without a common factor, so that each shape is
        combined with each layout and each domain.
        """
        shapes = [each for each in _shapes(subject) if 8 < prod(each) < _LARGE]
        shape = changes.get("shape", shapes[number % len(shapes)])
        dtypes = changes.get("dtypes", _DTYPES[0])
        wanted = [dtypes[0], dtypes[2], *([] if subject.labels else [dtypes[1]])]
        if not set(wanted) <= set(self._dtypes):
            return None
        if not subject.labels and kind(dtypes[1]) != "float":
            whole = ("hard",) if dtypes[1] == "bool" else ("hard", "positive")
            domains = [domain for domain in domains if domain[1] in whole]
        if changes.get("special") == "wild":
            domains = [domain for domain in domains if domain[0] == "real"]
        if not domains:
            return None
        x, y, weight = (LAYOUTS[number * step % len(LAYOUTS)] for step in (1, 4, 7))
        layouts: Layouts = (x, y, weight)
        axis = -1
        if subject.has_axis() and len(shape) > 1 and number % 3 == 1:
            axis = number % (len(shape) - 1)
            layouts = _without(layouts, "broadcast", "transposed")
        chosen = {"domain": domains[number % len(domains)], "shape": shape, "layouts": layouts}
        given: dict[str, Any] = {**chosen, "axis": axis, "seed": self._seed, **changes}
        case = Case(number, subject, subject.variants[variant], **given)
        return _consistent(case, self._writes)

    def _some(self, subject: Subject, turn: int) -> Iterator[Planned]:
        """Yield a selection that needs few programs.

        All shapes and all options without weights need one program, all options with weights
        another, whose dtype takes turns. One or two more programs follow.
        """
        for shape in _shapes(subject):
            yield 0, {"shape": shape}
        if not subject.by:
            return
        for options in _UNWEIGHTED:
            yield 0, options
        for shape in [each for each in _shapes(subject) if prod(each) < 2]:
            yield 0, {"shape": shape, "out": "fresh"}
        weighted = _weighted(subject)
        floats = [dtypes for dtypes in _DTYPES[:6] if set(dtypes) <= set(self._dtypes)]
        for options in weighted:
            yield 0, {"dtypes": floats[turn % len(floats)], **options}
        large = {"shape": _shapes(subject)[-1], "weight": "zeros", "special": "poison"}
        yield 0, {"dtypes": floats[turn % len(floats)], **large}
        start = (
            5 * turn % len(_EXTRAS)
        )  # 5 and their number have no common factor: each comes first
        extras = iter((*_EXTRAS[start:], *_EXTRAS[:start]))
        for variant in {len(subject.variants) - 1: None, 0: None}:
            for extra in extras:
                if self._case(subject, 0, variant, DOMAINS, extra) is None:
                    continue
                yield variant, extra
                written = {**extra, "out": "fresh"}
                cannot = self._case(subject, 0, variant, DOMAINS, written) is None
                yield variant, extra if cannot else written
                break

    def _rows(
        self, subject: Subject, classes: Sequence[int], turn: int | None
    ) -> Iterator[Planned]:
        """Yield rows of so many classes, in every floating dtype or, with a turn, in one."""
        if not subject.rows:
            return
        floats = [dtypes for dtypes in _DTYPES[:5] if set(dtypes) <= set(self._dtypes)]
        for n, length in enumerate(classes):
            chosen = floats if turn is None else [floats[(turn + n) % len(floats)]]
            for dtypes in chosen:
                case = {"shape": (3, length), "dtypes": dtypes}
                yield 0, case
                if turn is None and subject.by:
                    yield 0, {**case, "out": "x"}

    def _all(self, subject: Subject) -> Iterator[Planned]:
        """Yield all pairs of the fields that a program depends on, and random combinations."""
        yield from self._some(subject, 0)
        for variant in range(len(subject.variants)):
            for extra in _EXTRAS:
                yield variant, extra
            if not subject.by:
                for dtypes in _DTYPES:
                    yield variant, {"dtypes": dtypes}
                continue
            for want, dtypes in itertools.product(_WANTS, _DTYPES):
                yield variant, {"want": want, "dtypes": dtypes}
        if not subject.by:
            return
        shapes = [each for each in _shapes(subject) if prod(each) < _LARGE]
        weighted = _weighted(subject)
        rng = self._np.random.default_rng([self._seed, *subject.name.encode()])

        def one_of(values: Sequence[Any]) -> Any:
            return values[int(rng.integers(len(values)))]

        for _ in range(60):
            options = {**one_of(_UNWEIGHTED), **one_of(_EXTRAS), **one_of([{}, *weighted])}
            options |= {"dtypes": one_of(_DTYPES), "shape": one_of(shapes)}
            options |= {"layouts": tuple(one_of(LAYOUTS[:5]) for _ in range(3))}
            options |= {"argnums": one_of(_ARGNUMS), "reduction": one_of(("mean", "sum", "none"))}
            yield int(rng.integers(len(subject.variants))), options
