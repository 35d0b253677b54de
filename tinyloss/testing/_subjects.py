"""Losses to call: their parameters and the domains of their arguments, found by calling them."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import tinyloss
from tinyloss._regions import RegionFunction
from tinyloss.testing._arrays import draw
from tinyloss.testing._watch import Watch

Parts: TypeAlias = dict[str, Any]
"""Results by name: "value", "gradient by x", "curvature"."""

Domain: TypeAlias = tuple[str, str]
"""What x and y may be."""

# Each is tried with each loss. It is in the loss's domain if the formulas are finite.
DOMAINS: tuple[Domain, ...] = (
    ("real", "unit"),
    ("real", "hard"),
    ("real", "real"),
    ("real", "signs"),
    ("positive", "positive"),
    ("unit", "unit"),
    ("unit", "hard"),
)

_STANDARD = {
    "axis", "axis_name", "class_weight", "ignore_index", "mask", "weight", "where", "reduction",
    "denominator",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subject:
    """A loss with one kind of target."""

    loss: Any
    name: str
    arguments: tuple[str, ...]
    options: frozenset[str]
    labels: bool = False
    """Whether targets are integers, one for each row."""
    indices: bool = False
    """Whether these are indices of classes, or ranks."""
    beyond: int = 0
    """How many more ranks there are than classes."""
    rows: bool = False
    paired: bool = False
    """Whether each class of a row is compared with each other: long rows take too long."""
    by: tuple[int, ...] = ()
    """The arguments it can be differentiated by; none: it is a function of x alone."""
    curvature: bool = False
    variants: tuple[Mapping[str, Any], ...] = ({},)
    """Parameters: none, one other than the default, ..., all of these at once."""
    domains: tuple[tuple[Domain, ...], ...] = ()
    """What x and y may be with each of the variants."""
    arrays: frozenset[str] = frozenset()
    """The parameters that may be arrays which broadcast to x."""
    shares: frozenset[str] = frozenset()
    """Those of them that are from 0 to 1."""
    masked: tuple[Mapping[str, Any], ...] = ()
    """The variants that take a mask of a row's elements."""
    binary: bool = False
    """Whether targets must be between 0 and 1."""
    signs: bool = False
    """Whether integer targets must be -1 and 1."""

    def is_real(self, argument: int) -> bool:
        """Return whether x or y may be any real number."""
        return argument < 2 and any(pair[argument] == "real" for pair in self.domains[0])

    @property
    def like_x(self) -> frozenset[str]:
        """The options that broadcast to x."""
        return self.arrays | {"mask"}

    def has_axis(self) -> bool:
        """Return whether the classes may be in any dimension."""
        return self.rows and "axis" in self.options

    def call(
        self,
        want: str,
        argnums: tuple[int, ...],
        arrays: list[Any],
        options: Mapping[str, Any],
        out: tuple[Any, ...] = (),
        derive: Callable[..., Any] | None = None,
    ) -> Parts:
        """Return what is wanted, by name; `derive` replaces `tinyloss.value_and_grad`."""
        loss, names = self.loss, self.arguments
        if want == "value":
            return {"value": loss(*arrays, **options)}
        if want == "sums":
            return {"weight": tinyloss.partial_mean(loss)(*arrays, **options).weight}
        if want == "grad_and_hess":
            gradient, curvature = tinyloss.grad_and_hess(loss, out=out or None)(*arrays, **options)
            return {f"gradient by {names[0]}": gradient, "curvature": curvature}
        one = len(argnums) == 1
        at: Any = argnums[0] if one else argnums
        into = {"out": out[0] if one else out} if out else {}
        parts: Parts = {}
        if derive is None and want == "grad":
            grads: Any = tinyloss.grad(loss, at, **into)(*arrays, **options)
        else:
            derive = derive or tinyloss.value_and_grad
            value, grads = derive(loss, at, **into)(*arrays, **options)
            if want != "grad":
                parts["value"] = value
        by = [f"gradient by {names[n]}" for n in argnums]
        return parts | dict(zip(by, (grads,) if one else grads, strict=True))


def subjects_of(np: Any, watch: Watch, loss: Any) -> Iterator[Subject]:
    """Yield a loss with each kind of target it takes."""
    x = np.ones((2, 3))
    if not callable(loss) or not hasattr(loss, "__name__"):
        raise TypeError(
            f"tinyloss.testing: got {loss!r}, expected a loss function: of tinyloss, or your "
            "own decorated with @tinyloss.loss"
        )
    parameters = inspect.signature(loss).parameters
    arguments = tuple(
        name
        for name, each in parameters.items()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    )
    subject = Subject(loss, loss.__name__, arguments, frozenset(parameters))
    alone = not hasattr(loss, "ask")
    for y in (x,) if alone else (x, np.zeros(2, np.int64)):
        given = [x] if alone else [x, y, *(x for _ in arguments[2:])]
        job = watch.job(partial(loss, *given))
        if job is None:
            continue
        formula = job.kind.formula
        binary = formula.binary or isinstance(loss, RegionFunction)
        found = replace(subject, rows=formula.rowwise, binary=binary, signs=formula.signed)
        if not alone:
            role = job.kind.role("y")
            found = replace(
                found,
                labels=found.rows and not role.per_class,
                indices=role.integer or formula.ranks is not None,
                beyond=formula.ranks or 0,
            )
            found = _described(watch, found, given)
        domains = [tuple(_domains(np, watch, found, params)) for params in found.variants]
        yield replace(found, domains=tuple(domains))


def _described(watch: Watch, subject: Subject, given: list[Any]) -> Subject:
    """Return the subject with its derivatives and parameters."""
    loss, arrays = subject.loss, set[str]()

    def accepts(parameters: Mapping[str, Any]) -> bool:
        job = watch.job(partial(loss, *given, **parameters))
        if job is not None:
            arrays.update(set(parameters) & set(job.arrays) - {"mask"})
        return job is not None

    def differentiable(want: Any, *argnums: int) -> bool:
        return watch.job(lambda: want(loss, *argnums)(*given)) is not None

    plain = watch.job(partial(loss, *given))
    variants = tuple(_parameters(subject, accepts))
    names = {name for params in variants for name in params}
    for name in names:  # one for each column
        accepts({name: given[0][0] * 0.25})
    mask = given[0] > 0
    return replace(
        subject,
        masked=tuple(p for p in variants if subject.rows and accepts({**p, "mask": mask})),
        paired=plain is not None and plain.kind.formula.paired,
        by=tuple(n for n in range(len(given)) if differentiable(tinyloss.grad, n)),
        curvature=differentiable(tinyloss.grad_and_hess),
        variants=variants,
        arrays=frozenset(arrays),
        shares=frozenset(name for name in names if not accepts({name: 2.0})),
    )


def _parameters(subject: Subject, accepts: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """Yield parameters that a loss accepts: the defaults, each one changed, all changed."""
    changed: dict[str, Any] = {}
    yield {}
    for name, parameter in inspect.signature(subject.loss).parameters.items():
        default = parameter.default
        if parameter.kind is not parameter.KEYWORD_ONLY or name in _STANDARD:
            continue
        # 1/4 is in the domain of most; 2 is where only numbers above 1 are; 0 is an edge.
        values = [not default] if isinstance(default, bool) else [0.25, 2.0, 0.0]
        accepted = [v for v in values if v != default and accepts({name: v})]
        yield from ({name: value} for value in accepted)
        if accepted:
            changed[name] = accepted[0]
    if len(changed) > 1 and accepts(changed):
        yield changed


def _domains(np: Any, watch: Watch, subject: Subject, params: Mapping[str, Any]) -> list[Domain]:
    """Return what x and y may be: where the formulas are finite."""
    found: list[Domain] = []
    for domain in DOMAINS:
        if subject.labels and domain[0] in dict(found):
            continue
        rng, double = np.random.default_rng(0), np.dtype("float64")
        x, *given = [draw(np, rng, each, (5, 4), double, subject.rows) for each in domain]
        labels = rng.integers(0, 4, 5)
        more = [np.abs(x) + 0.25 for _ in subject.arguments[2:]]
        given = [x, *([labels] if subject.labels else given), *more] if subject.by else [x]
        parts: Parts = {}
        wants = ("value_and_grad", "grad_and_hess")[: 1 + subject.curvature]
        for want in wants if subject.by else ("value",):
            with tinyloss.validation("never"):
                call = partial(subject.call, want, subject.by, given, params)
                parts |= watch.formulas(call)[0]
        if all(np.all(np.isfinite(part)) for part in parts.values()):
            found.append(domain)
    return found or [("unit", "unit")]
