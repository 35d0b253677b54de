"""Jobs of large arrays on a CPU, answered by NumPy's compiled loops where these are installed.

A job becomes one operation of JAX. XLA calls the loop for it, in the memory of its own arrays. The
derivative of a mean by arguments with closed-form gradients is such an operation too, which writes
the gradients with the value. All else that JAX may ask for, as `jax.vmap` or second derivatives, is
answered by the formulas, which the operation carries.

    native_of           the function of a job, one operation where that pays
    _lowered            what a program has for it: a call of the loop, or the formulas after all
    _answer_in_memory   the call
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from tinyloss.backend import Answer, Job, Kind, namespace, prepared_for, translated
from tinyloss_jax import _foreign

WORTH_A_CALL = 2**16
"""Numbers from which a call of a loop, by way of Python, takes less time than XLA's code."""

_NUMPY = namespace(np.empty(0))
_WEIGHT, _DIVISOR, _NUMBERS = "weight=", "divisor=", "numbers="
"""Names of operands that are no arrays of the formula: they have a "=".

Numbers of the call are float64, in pairs of words, since JAX may have no float64. Those that the
formulas take have names that begin with "="."""

Operands = dict[str, Any]
Formulas = Callable[[Operands, Operands, Any, Any], Answer]
"""They take a job's arrays, numbers, weight and divisor."""


class _Call(NamedTuple):
    """A job but for its arrays."""

    kind: Kind
    names: tuple[str, ...]
    """What the operands are."""
    formulas: Formulas

    def flat(self, *operands: Any) -> list[Any]:
        """Return the parts of the answer, by the formulas."""
        return _parts(_by(self.formulas, dict(zip(self.names, operands, strict=True))))


def pays(job: Job) -> bool:
    """Return whether a job's arrays are so large that a loop answers it sooner."""
    kind, x = job.kind, job.arrays["x"]
    if not all(isinstance(n, int) for n in x.shape):
        return False
    as_large = kind.value and not kind.reduce and not (kind.rowwise and kind.formula.per_item)
    return (
        job.work >= WORTH_A_CALL
        and not as_large
        and kind.axis_name is None
        and jax.typeof(x).sharding.mesh.empty
        and jax.default_backend() == "cpu"
        and jax.device_count() == 1
        and _foreign.known_entry() is not None
    )


def operands_of(job: Job, numbers: Mapping[str, Any], weight: Any, divisor: Any) -> Operands:
    """Return the operands of a job's operation; `numbers` are those that the formulas take."""
    operands = {**job.arrays, **{f"={name}": number for name, number in numbers.items()}}
    if weight is not None:
        operands[_WEIGHT] = weight
    if divisor is not None:
        operands[_DIVISOR] = divisor
    exact = np.array([job.numbers[name] for name in job.kind.numbers], np.float64)
    operands[_NUMBERS] = exact.view(np.uint32)
    return operands


class _Split(NamedTuple):
    """Operands by what they are."""

    arrays: Operands
    numbers: Operands
    """Those that the formulas take."""
    weight: Any
    divisor: Any
    exact: Any
    """The numbers of the call, in pairs of words."""

    @staticmethod
    def of(operands: Operands) -> "_Split":
        arrays = dict(operands)
        numbers = {name[1:]: arrays.pop(name) for name in operands if name.startswith("=")}
        ways = [arrays.pop(name, None) for name in (_WEIGHT, _DIVISOR, _NUMBERS)]
        return _Split(arrays, numbers, *ways)


def _by(formulas: Formulas, operands: Operands) -> Answer:
    """Return the answer by the formulas."""
    arrays, numbers, weight, divisor, _ = _Split.of(operands)
    return formulas(arrays, numbers, weight, divisor)


def native_of(kind: Kind, formulas_of: Callable[[Kind], Formulas]) -> Callable[[Operands], Answer]:
    """Return the function of a job that is one operation.

    `formulas_of` gives what answers by formulas, for this kind and for others that ask the same
    for more derivatives.
    """
    formulas = formulas_of(kind)

    def operation(operands: Operands) -> Answer:
        call = _Call(kind, tuple(operands), formulas)
        return _answer(kind, _operation.bind(*operands.values(), call=call))

    def rule(primals: Any, tangents: Any) -> tuple[Answer, Answer]:
        (operands,), (moves,) = primals, tangents
        moving = {n: move for n, move in moves.items() if not isinstance(move, SymbolicZero)}
        closed = _is_mean_alone(kind) and kind.has_gradients(moving)
        if not closed or kind.rounds_gradients(moving):
            still = {name: operands[name] for name in moving}

            def of_those(moved: Operands) -> Answer:
                return _by(formulas, {**operands, **moved})

            found: tuple[Answer, Answer] = jax.jvp(of_those, (still,), (moving,))
            return found
        asking = replace(kind, grads=tuple(moving))
        value, slopes, _ = native_of(asking, formulas_of)(operands)
        terms = [jnp.sum(a * b) for a, b in zip(slopes, moving.values(), strict=True)]
        return Answer(value), Answer(sum(terms[1:], terms[0]).astype(value.dtype))

    function: Any = jax.custom_jvp(operation)
    function.defjvp(rule, symbolic_zeros=True)
    return function  # type: ignore[no-any-return]


def _is_mean_alone(kind: Kind) -> bool:
    """Return whether a mean or sum is asked for, and nothing else."""
    return kind.value and kind.reduce and not kind.grads and not kind.curvature


def _parts(answer: Answer) -> list[Any]:
    return [each for each in (answer.value, *answer.grads, answer.curvature) if each is not None]


def _answer(kind: Kind, parts: Sequence[Any]) -> Answer:
    value, *others = parts if kind.value else (None, *parts)
    return Answer(value, tuple(others[: len(kind.grads)]), others[-1] if kind.curvature else None)


# ------------------------------------------------------------------------------- JAX's operation


_operation: Any = Primitive("tinyloss")
_operation.multiple_results = True


def _run(*operands: Any, call: _Call) -> list[Any]:
    return call.flat(*operands)


def _typed(*operands: Any, call: _Call) -> list[Any]:
    types = [
        jax.ShapeDtypeStruct(each.shape, each.dtype, weak_type=each.weak_type) for each in operands
    ]
    found = jax.eval_shape(call.flat, *types)
    return [ShapedArray(each.shape, each.dtype) for each in found]


def _mapped(operands: Sequence[Any], axes: Sequence[Any], *, call: _Call) -> tuple[Any, Any]:
    parts = jax.vmap(call.flat, in_axes=tuple(axes))(*operands)
    return parts, [0] * len(parts)


_lowered_by_formulas = mlir.lower_fun(_run, multiple_results=True)


def _lowered(context: Any, *operands: Any, call: _Call) -> Any:
    settings = context.module_context
    # a program to be exported must run where nobody knows of us
    stays = tuple(settings.platforms) == ("cpu",) and not settings.lowering_parameters.for_export
    number = _number(call, context.avals_in, context.avals_out) if stays else None
    if number is None:
        return _lowered_by_formulas(context, *operands, call=call)
    rule = jax.ffi.ffi_lowering(_foreign.NAME)
    return rule(context, *operands, number=np.int64(number))


_operation.def_impl(_run)
_operation.def_abstract_eval(_typed)
batching.primitive_batchers[_operation] = _mapped
mlir.register_lowering(_operation, _lowered_by_formulas)
mlir.register_lowering(_operation, _lowered, platform="cpu")


# -------------------------------------------------------------------------------- NumPy's arrays


def _number(call: _Call, operands: Sequence[Any], results: Sequence[Any]) -> int | None:
    """Return what XLA is to call for a job of such arrays, None where there is no loop for it."""

    def job_of(operands: Sequence[Any]) -> Job:
        return _job(call.kind, dict(zip(call.names, operands, strict=True)))

    try:
        job = job_of([np.zeros((), a.dtype) if not a.shape else _absent(a) for a in operands])
        out = tuple([_absent(each) for each in results[call.kind.value :]])
    except MemoryError:  # a program that is only looked at
        return None
    has_loop: Any = getattr(prepared_for(_NUMPY, job.kind), "has_loop", None)
    if has_loop is None or not has_loop(replace(job, out=out)):
        return None

    def answer(operands: Sequence[Any], results: Sequence[Any]) -> None:
        _answer_in_memory(job_of(operands), results)

    types = [tuple([(a.shape, a.dtype.name) for a in some]) for some in (operands, results)]
    return _foreign.kept.add((call.kind, call.names, *types), answer, operands, results)


def _absent(array: Any) -> Any:
    return np.empty(array.shape, array.dtype)


def _job(kind: Kind, operands: Operands) -> Job:
    """Return the job of some operands."""
    arrays, _, weight, divisor, words = _Split.of(operands)
    exact = np.ascontiguousarray(words).view(np.float64).tolist()
    numbers = dict(zip(kind.numbers, exact, strict=True))
    divisor = None if divisor is None else float(divisor)
    own = Job(kind, _NUMPY, arrays, weight, divisor, numbers)
    return translated(own, _NUMPY, np.asarray, np.dtype)


def _answer_in_memory(job: Job, results: Sequence[Any]) -> None:
    """Write a job's answer."""
    kind = job.kind
    with np.errstate(all="ignore"):
        answer = prepared_for(_NUMPY, kind).by_loop(replace(job, out=tuple(results[kind.value :])))
    if kind.value:
        results[0][...] = answer.value
