"""The check that backends are put to: ours pass it, and every kind of wrong answer is caught."""

import re
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyloss
import tinyloss_numpy
from tests.support.params import turns
from tinyloss._arrays import namespace
from tinyloss._engine import registry as _backends
from tinyloss.backend import Answer, Job, evaluate, replaced
from tinyloss.testing import Report, check_backend
from tinyloss_numpy import _programs

FEW = [tinyloss.mse, tinyloss.nll]
COMPILED: dict[Any, range | None] = {
    tinyloss.nll: range(0, 10_000, 2),
    tinyloss.kl_div: range(1, 10_000, 2),
    tinyloss.binary_cross_entropy_with_logits: None,
}
"""Losses to compile, and which cases of each: the two of rows share them."""

Backend = Callable[[Job], Any]

# ---------------------------------------------------------------------------------- our backends


def check_numpy(mode: Any, losses: Iterable[Any] | None = None, only: Any = None) -> Report:
    """Check the backend for NumPy; a loss that cannot be compiled is a failure of its own."""

    def refuse(reason: str) -> None:
        raise AssertionError(reason)

    if mode == "always":
        pytest.importorskip("llvmlite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_programs, "warn_once", refuse)
        report = check_backend(
            "numpy",
            losses=losses,
            only=only,
            context=lambda: tinyloss_numpy.compilation(mode),
            must_answer=True,
        )
    assert report.left_out == ()
    return report


@pytest.mark.parametrize(
    ("mode", "only"),
    [
        pytest.param("never", range(0, 10_000, 4), marks=pytest.mark.long, id="never, one in four"),
        pytest.param("never", None, marks=pytest.mark.slow, id="never"),
        pytest.param("always", None, marks=pytest.mark.slow, id="always"),
    ],
)
def test_numpy_answers_as_the_formulas_do(mode: Any, only: Any) -> None:
    report = check_numpy(mode, only=only)
    assert set(report.worst) >= {"mse", "cross_entropy", "gaussian_nll", "js_div", "softmax"}
    # `bound` units more than the formulas' own error, which is within 10 (sigmoid_focal, far from
    # the targets it is for)
    assert max(report.worst.values()) <= 26
    # A backend that compiles for a second each gets through in minutes: one program without
    # weights, one with, one or two more; class indices and probabilities apart.
    assert report.programs <= 4.5 * len(report.worst)


@pytest.mark.parametrize(
    ("mode", "loss"),
    [
        *product(["never"], FEW),
        *(pytest.param("always", loss, marks=pytest.mark.long) for loss in COMPILED),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_numpy_answers_as_the_formulas_do_for_one_loss_of_a_kind(mode: Any, loss: Any) -> None:
    only = COMPILED[loss] if mode == "always" else None
    assert max(check_numpy(mode, [loss], only).worst.values()) <= 8  # `bound` is twice that


# ------------------------------------------------------------------------------- wrong backends


def right(job: Job) -> Answer:
    if job.kind.rowwise:
        arrays = {
            name: np.asarray(array, order="C") if isinstance(array, np.ndarray) else array
            for name, array in job.arrays.items()
        }
        job = replaced(job, arrays=arrays)
    with np.errstate(all="ignore"):
        return evaluate(job)


def changed(result: Any, change: Callable[[Any], Any]) -> Any:
    """Return a result with another value, of the same type and in the same place."""
    new = np.asarray(change(np.array(result))).astype(result.dtype)
    if not isinstance(result, np.ndarray):
        return new[()]
    result[...] = new
    return result


def value_off_by_1e5(job: Job) -> Any:
    answer = right(job)
    if answer.value is None:
        return answer
    return answer._replace(value=changed(answer.value, lambda v: v * (1 + 1e-5)))


def one_element_off(job: Job) -> Any:
    def off(gradient: Any) -> Any:
        if gradient.size:
            gradient.reshape(-1)[-1] *= 1.001
        return gradient

    answer = right(job)
    return answer._replace(grads=tuple([changed(grad, off) for grad in answer.grads]))


def curvature_halved(job: Job) -> Any:
    answer = right(job)
    if answer.curvature is None:
        return answer
    return answer._replace(curvature=changed(answer.curvature, lambda h: h / 2))


def ignores_weights(job: Job) -> Any:
    return right(replaced(job, weight=None))


def ignores_the_divisor(job: Job) -> Any:
    return right(replaced(job, divisor=None))


def multiplies_instead_of_selecting(job: Job) -> Any:
    """NaN times the weight 0 is NaN."""
    if job.weight is None:
        return right(job)
    weight, divisor = job.weight, 1 if job.divisor is None else job.divisor
    plain = right(replaced(job, weight=None, divisor=None, reduce=False, out=()))
    scale = (weight[..., None] if job.kind.rowwise else weight) / divisor
    with np.errstate(all="ignore"):
        value = plain.value
        if value is not None:
            value = value * weight
            value = np.sum(value) / divisor if job.kind.reduce else value
            value = value.astype(job.kind.dtype)
        grads = tuple([(grad * scale).astype(grad.dtype) for grad in plain.grads])
    for into, grad in zip(job.out, grads, strict=bool(job.out)):
        into[...] = grad
    return Answer(value, job.out or grads, plain.curvature)


def writes_to_x(job: Job) -> Any:
    x, answer = job.arrays["x"], right(job)
    if x.size and x.flags.writeable and not job.out:
        x[...] += 1
    return answer


def reads_contiguously(job: Job) -> Any:
    """Takes the memory from the first element on for the array, whatever its strides."""
    x = job.arrays["x"]
    if not x.flags.c_contiguous and x.base is not None and x.base.size >= x.size:
        x = x.base.reshape(-1)[: x.size].reshape(x.shape).astype(x.dtype)
        job = replaced(job, arrays={**job.arrays, "x": x})
    return right(job)


def widens_the_value(job: Job) -> Any:
    answer = right(job)
    value = None if answer.value is None else answer.value.astype(np.float64)
    return answer._replace(value=value)


def widens_the_gradient(job: Job) -> Any:
    answer = right(job)
    return answer._replace(grads=tuple([grad.astype(np.float64) for grad in answer.grads]))


def drops_a_dimension(job: Job) -> Any:
    answer = right(job)
    return answer._replace(grads=tuple([np.reshape(grad, (-1,)) for grad in answer.grads]))


def gives_an_array_for_a_number(job: Job) -> Any:
    answer = right(job)
    value = None if answer.value is None else np.asarray(answer.value)
    return answer._replace(value=value)


def leaves_out_alone(job: Job) -> Any:
    return right(replace(job, out=()))


def keeps_the_gradient_in_x(job: Job) -> Any:
    """Gives x's own memory for the gradient, with the right numbers in it."""
    x, answer = job.arrays["x"], right(job)
    if answer.grads and not job.out and x.flags.writeable and x.dtype == answer.grads[0].dtype:
        x[...] = answer.grads[0]
        return answer._replace(grads=(x, *answer.grads[1:]))
    return answer


def raises(job: Job) -> Any:
    raise IndexError("index 7 is out of bounds")


def is_a_bit_off_each_second_time() -> Backend:
    calls = iter(range(10**9))

    def run(job: Job) -> Any:
        answer = right(job)
        if answer.value is None or next(calls) % 2:
            return answer
        return answer._replace(value=changed(answer.value, lambda v: np.nextafter(v, np.inf)))

    return run


def is_a_bit_off_in_threads(job: Job) -> Any:
    answer = right(job)
    if answer.value is None or threading.current_thread() is threading.main_thread():
        return answer
    return answer._replace(value=changed(answer.value, lambda v: np.nextafter(v, np.inf)))


@contextmanager
def registered(backend: Backend, array: Any) -> Generator[None]:
    """Have a backend answer for the library of an array."""
    with pytest.MonkeyPatch.context() as patch:
        ours = SimpleNamespace(prepare=lambda kind: backend)
        patch.setitem(_backends._BACKENDS, namespace(array), ours)
        yield


def put_to_the_check(backend: Backend, **options: Any) -> Report:
    """Check a backend in place of NumPy's."""
    given: dict[str, Any] = {"losses": FEW, **options}
    with registered(backend, np.ones(1)):
        return check_backend("numpy", **given)


@pytest.mark.parametrize(
    ("backend", "complaint"),
    turns(
        [
            (value_off_by_1e5, r"value.* is \S+, expected \S+: \S+ units off"),
            (one_element_off, r"gradient by x\[.*\] is \S+, expected \S+: \S+ units off, 1 of"),
            (ignores_weights, r" weight=full .*units off"),
            (ignores_the_divisor, r"units off"),
            (multiplies_instead_of_selecting, r" special=poison .* is nan, expected"),
            (writes_to_x, r": x was changed"),
            (reads_contiguously, r"layouts=\('slice', .*units off"),
            (widens_the_value, r"value is a float64, expected float32"),
            (widens_the_gradient, r"gradient by x has dtype float64, expected float32"),
            (drops_a_dimension, r"gradient by x has shape \(15,\), expected \(3, 5\)"),
            (gives_an_array_for_a_number, r"value is a ndarray, expected float32"),
            (leaves_out_alone, r" out=.*: gradient by x\[.* is nan, expected"),
            (keeps_the_gradient_in_x, r"gradient by x shares memory with x"),
            (raises, r"raised IndexError: index 7 is out of bounds"),
            (is_a_bit_off_each_second_time(), r": value: other bits at the second call"),
            (is_a_bit_off_in_threads, r": value: other bits in a thread"),
        ],
        4,
    ),
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_wrong_backend_is_caught(backend: Backend, complaint: str) -> None:
    with pytest.raises(AssertionError, match=r"the backend for numpy failed") as error:
        put_to_the_check(backend)
    lines = str(error.value).splitlines()[1:]
    assert [line for line in lines if re.search(complaint, line)], lines[:3]


def test_a_wrong_curvature_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"want=grad_and_hess.*: curvature\["):
        put_to_the_check(curvature_halved, losses=[tinyloss.mse], full=True)


def test_a_backend_that_declines_everything_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"answered none of \d+ cases"):
        put_to_the_check(lambda job: NotImplemented)


def test_a_missing_backend_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_backends._BACKENDS, namespace(np.ones(1)), None)
    with pytest.raises(AssertionError, match=r"answered none of \d+ cases"):
        check_backend("numpy", losses=FEW)


# ------------------------------------------------------------------------------------ the check


def declines_halves(job: Job) -> Any:
    narrow = job.arrays["x"].dtype.itemsize < 4
    return NotImplemented if narrow else right(job)


def test_what_a_backend_declines_is_counted() -> None:
    report = put_to_the_check(declines_halves, losses=[tinyloss.mse], full=True)
    assert report.cases > report.answered > report.declined > 0
    with pytest.raises(
        AssertionError, match=rf"declined {report.declined} of {report.cases} cases"
    ):
        put_to_the_check(declines_halves, losses=[tinyloss.mse], full=True, must_answer=True)


def test_a_right_backend_passes() -> None:
    report = put_to_the_check(right, must_answer=True)
    assert report.answered == report.cases
    assert set(report.worst) == {"mse", "nll"}
    assert max(report.worst.values()) <= 8  # `bound` is twice that


def test_a_seed_gives_other_numbers() -> None:
    losses = [tinyloss.mse]
    first, again, other = (
        put_to_the_check(right, losses=losses, seed=seed).worst for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_failure_names_the_case_that_fails_again() -> None:
    def fails_for_some(job: Job) -> Any:
        return raises(job) if job.arrays["x"].shape in ((17, 1), (9, 65)) else right(job)

    with pytest.raises(AssertionError, match=r"failed \d+ of") as error:
        put_to_the_check(fails_for_some)
    lines = str(error.value).splitlines()[1:]
    assert {line.split()[1] for line in lines} == {"mse", "nll"}
    number = int(lines[-1].split()[0].removeprefix("#"))
    with pytest.raises(AssertionError, match=r"failed 1 of 1 cases") as error:
        put_to_the_check(fails_for_some, only=[number])
    assert str(error.value).splitlines()[1:] == lines[-1:]


def test_the_context_is_entered_around_every_call() -> None:
    inside = threading.local()

    @contextmanager
    def context() -> Generator[None]:
        inside.here = True
        yield
        inside.here = False

    def run(job: Job) -> Any:
        assert inside.here
        return right(job)

    put_to_the_check(run, context=context, losses=[tinyloss.mse])


def test_the_registry_is_as_it_was_afterwards() -> None:
    before = _backends.backend_of
    with pytest.raises(AssertionError):
        put_to_the_check(raises, losses=[tinyloss.mse])
    assert _backends.backend_of is before


def test_losses_of_ones_own_are_checked() -> None:
    @tinyloss.loss(labels=True)
    def plain_cross_entropy(x: Any, y: Any) -> Any:
        xp = tinyloss.namespace(x)
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        right = y[..., None] == xp.arange(x.shape[-1])
        total = xp.log(xp.sum(xp.exp(shifted), axis=-1))
        return total - xp.sum(xp.where(right, shifted, 0.0), axis=-1)

    report = put_to_the_check(right, losses=[plain_cross_entropy])
    assert report.answered == report.cases > 20


def test_losses_are_functions() -> None:
    with pytest.raises(TypeError, match=r"got MSELoss\(\), expected a loss function"):
        put_to_the_check(right, losses=[tinyloss.MSELoss()])


def test_a_library_of_ones_own_is_checked() -> None:
    strict = pytest.importorskip("array_api_strict")

    def run(job: Job) -> Any:
        with np.errstate(all="ignore"):
            return evaluate(job)

    def ignores(job: Job) -> Any:
        return run(replaced(job, weight=None))

    losses = [tinyloss.mse, tinyloss.huber]
    library: dict[str, Any] = {"xp": strict, "asarray": strict.asarray, "to_numpy": np.asarray}
    with registered(run, strict.asarray(1.0)):
        report = check_backend("nacre", losses=losses, must_answer=True, **library)
    assert report.left_out
    with registered(ignores, strict.asarray(1.0)), pytest.raises(AssertionError, match="weight="):
        check_backend("nacre", losses=losses, **library)
