"""tinyloss against other libraries: equal where it should be, and where it is not, on purpose.

The first half compares values and gradients on ordinary inputs. The second half is the table
`DIFFERENCES`, which the README shows, with a test for each of its rows that shows both answers.
`python -m tests.test_differential` prints the table.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import tinyloss

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Params = dict[str, Any]
Test = TypeVar("Test", bound=Callable[..., None])

REDUCTIONS = ("mean", "sum", "none")
ARGUMENTS = ("x", "y", "var")

# Losses are picked by name here, so that their signatures are not known to a type checker.
value_and_grad: Any = tinyloss.value_and_grad

# The peers' own errors, not ours: they cancel (p - y, log p + ...) between terms of the size of the
# largest entry, each with a few roundings and an exp or a log of 2 to 4 eps, and sum a few dozen.
# Ours are bound by tests.test_golden.
PEER_EPS = 32.0


def _close(got: Any, expected: Any, dtype: Any, what: str = "") -> None:
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, what
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    tolerance = PEER_EPS * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * size, err_msg=what)


def _peer(name: str, request: pytest.FixtureRequest) -> Any:
    """Give another library, or skip the test, or fail it where `--require` names the library."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        root = name.partition(".")[0]
        if root in str(request.config.getoption("--require")).split(","):
            pytest.fail(f"{root} is required: {error}", pytrace=False)
        pytest.skip(f"{root} is not installed")


@pytest.fixture
def optax(request: pytest.FixtureRequest, jax: Any) -> Any:
    """optax's losses, with float64."""
    return _peer("optax.losses", request)


@pytest.fixture
def sklearn(request: pytest.FixtureRequest) -> Any:
    return _peer("sklearn.metrics", request)


@pytest.fixture
def scipy(request: pytest.FixtureRequest) -> Any:
    _peer("scipy.spatial.distance", request)
    return _peer("scipy.special", request)


# --------------------------------------------------------------------------------------- PyTorch


@dataclass(frozen=True)
class Case:
    """A loss of ours and torch's way to say it."""

    loss: str
    id: str
    arrays: Arrays
    theirs: Callable[[Any, Any, str], Any]
    """From torch, the tensors by name and the reduction."""
    params: Params = field(default_factory=dict[str, Any])
    by: tuple[str, ...] = ("x",)
    """What both differentiate by."""
    mean_over: int | None = None
    """What torch's mean divides by, where it is not the sum of weights."""

    @property
    def argnums(self) -> tuple[int, ...]:
        return tuple(ARGUMENTS.index(name) for name in self.by)


def _reduced(items: Any, reduction: str) -> Any:
    return {"none": items, "sum": items.sum(), "mean": items.mean()}[reduction]


def _rng(seed: str) -> np.random.Generator:
    return np.random.default_rng([11, *seed.encode()])


def _name(params: Params) -> str:
    return ",".join(f"{k}={v}" for k, v in params.items())


N = 24


def _regression() -> Iterator[Case]:
    rng = _rng("regression")
    y = rng.normal(size=(4, 6))
    x = y + np.linspace(-3.7, 4.1, N).reshape(y.shape)  # no kink of any threshold below
    weight = rng.uniform(0.1, 2, y.shape)
    plain, weighted = {"x": x, "y": y}, {"x": x, "y": y, "weight": weight}
    both = ("x", "y")
    for loss, name in (("mse", "mse_loss"), ("mae", "l1_loss")):

        def theirs(torch: Any, t: Any, reduction: str, name: str = name) -> Any:
            function = getattr(torch.nn.functional, name)
            return function(t["x"], t["y"], reduction=reduction, weight=t.get("weight"))

        yield Case(loss, "", plain, theirs, by=both)
        yield Case(loss, "weight", weighted, theirs, by=both)

    for delta in (1.0, 0.3, 2.5):

        def huber(torch: Any, t: Any, reduction: str, delta: float = delta) -> Any:
            return torch.nn.functional.huber_loss(
                t["x"], t["y"], reduction=reduction, delta=delta, weight=t.get("weight")
            )

        yield Case("huber", f"{delta=}", plain, huber, {"delta": delta}, both)
        yield Case("huber", f"{delta=},weight", weighted, huber, {"delta": delta}, both, N)
    for beta in (1.0, 0.3, 2.5, 0.0):

        def smooth(torch: Any, t: Any, reduction: str, beta: float = beta) -> Any:
            function = torch.nn.functional.smooth_l1_loss
            return function(t["x"], t["y"], reduction=reduction, beta=beta)

        yield Case("smooth_l1", f"{beta=}", plain, smooth, {"beta": beta}, both)
    for q in (0.5, 0.1, 0.9, 0.0, 1.0):

        def pinball(torch: Any, t: Any, reduction: str, q: float = q) -> Any:
            error = t["y"] - t["x"]
            return _reduced(torch.maximum(q * error, (q - 1) * error), reduction)

        yield Case("quantile", f"{q=}", plain, pinball, {"q": q}, both)

    def log_cosh(torch: Any, t: Any, reduction: str) -> Any:
        return _reduced(torch.log(torch.cosh(t["x"] - t["y"])), reduction)

    yield Case("log_cosh", "", plain, log_cosh, by=both)

    def msle(torch: Any, t: Any, reduction: str) -> Any:
        error = torch.log1p(t["x"]) - torch.log1p(t["y"])
        return _reduced(error * error, reduction)

    yield Case("msle", "", {"x": np.exp(x / 3), "y": np.exp(y / 3)}, msle, by=both)
    for eps in (2.0**-52, 0.5):

        def mape(torch: Any, t: Any, reduction: str, eps: float = eps) -> Any:
            return _reduced((t["x"] - t["y"]).abs() / t["y"].abs().clamp_min(eps), reduction)

        yield Case("mape", f"eps={eps:.3g}", plain, mape, {"eps": eps}, both)

    for log_input, full, eps in product((True, False), (False, True), (1e-8, 0.25)):
        rate = x / 2 if log_input else np.exp(x / 2)
        count = rng.uniform(0, 6, y.shape)
        params = {"log_input": log_input, "full": full, "eps": eps}

        def poisson(torch: Any, t: Any, reduction: str, params: Params = params) -> Any:
            function = torch.nn.functional.poisson_nll_loss
            return function(t["x"], t["y"], reduction=reduction, **params)

        yield Case("poisson_nll", _name(params), {"x": rate, "y": count}, poisson, params, both)

    variance = rng.uniform(0.2, 3, y.shape)
    for full, eps in product((False, True), (1e-6, 1e-2)):
        params = {"full": full, "eps": eps}

        def gaussian(torch: Any, t: Any, reduction: str, params: Params = params) -> Any:
            function = torch.nn.functional.gaussian_nll_loss
            return function(t["x"], t["y"], t["var"], reduction=reduction, **params)

        arrays = {"x": x, "y": y, "var": variance}
        yield Case("gaussian_nll", _name(params), arrays, gaussian, params, (*both, "var"))
        arrays = {"x": x, "y": y, "var": variance[:, :1]}
        yield Case("gaussian_nll", f"{_name(params)},column", arrays, gaussian, params, both)


def _binary() -> Iterator[Case]:
    rng = _rng("binary")
    shape = (4, 6)
    x = 2 * rng.normal(size=shape)
    weight, pos_weight = rng.uniform(0.1, 2, shape), rng.uniform(0.5, 3, shape[1:])
    targets = {
        "hard": rng.integers(0, 2, shape).astype(float),
        "soft": rng.uniform(0.02, 0.98, shape),
    }
    for kind, weighted in product(targets, (False, True)):
        arrays = {"x": 1 / (1 + np.exp(-x)), "y": targets[kind]}
        name = kind
        if weighted:
            arrays, name = {**arrays, "weight": weight}, f"{kind},weight"

        def bce(torch: Any, t: Any, reduction: str) -> Any:
            return torch.nn.functional.binary_cross_entropy(
                t["x"], t["y"], weight=t.get("weight"), reduction=reduction
            )

        over = N if weighted else None
        yield Case("binary_cross_entropy", name, arrays, bce, {}, ("x", "y"), over)
        for positive in ("", "number", "array"):
            more = {**arrays, "x": x}
            if positive:
                more["pos_weight"] = pos_weight if positive == "array" else np.array(2.5)

            def logits(torch: Any, t: Any, reduction: str) -> Any:
                return torch.nn.functional.binary_cross_entropy_with_logits(
                    t["x"],
                    t["y"],
                    weight=t.get("weight"),
                    pos_weight=t.get("pos_weight"),
                    reduction=reduction,
                )

            loss = "binary_cross_entropy_with_logits"
            each = f"{name},pos_weight {positive}" if positive else name
            yield Case(loss, each, more, logits, {}, ("x", "y"), over)
        if weighted:
            continue
        for alpha, gamma in product((None, 0.25, 0.9), (0.0, 1.0, 2.0, 3.5)):
            params = {"alpha": alpha, "gamma": gamma}

            def focal(torch: Any, t: Any, reduction: str, params: Params = params) -> Any:
                # As torchvision.ops.sigmoid_focal_loss has it; there alpha < 0 means none.
                x, y = t["x"], t["y"]
                p = torch.sigmoid(x)
                ce = torch.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
                p_t = p * y + (1 - p) * (1 - y)
                items = ce * ((1 - p_t) ** params["gamma"])
                if params["alpha"] is not None:
                    items = (params["alpha"] * y + (1 - params["alpha"]) * (1 - y)) * items
                return _reduced(items, reduction)

            arrays = {"x": x, "y": targets[kind]}
            name = f"{kind},{_name(params)}"
            yield Case("sigmoid_focal", name, arrays, focal, params, ("x", "y"))

    def soft_margin(torch: Any, t: Any, reduction: str) -> Any:
        return torch.nn.functional.soft_margin_loss(t["x"], t["y"], reduction=reduction)

    def hinge(torch: Any, t: Any, reduction: str) -> Any:
        return _reduced(torch.relu(1 - t["y"] * t["x"]), reduction)

    def squared_hinge(torch: Any, t: Any, reduction: str) -> Any:
        return _reduced(torch.relu(1 - t["y"] * t["x"]) ** 2, reduction)

    arrays = {"x": x, "y": 2 * targets["hard"] - 1}
    for function in (soft_margin, hinge, squared_hinge):
        # torch's soft margin has no derivative by the target.
        by = ("x",) if function is soft_margin else ("x", "y")
        yield Case(function.__name__, "", arrays, function, {}, by)


CLASSES = 5


def _labelled() -> Iterator[Case]:
    """All parameters of cross-entropy and their combinations, classes in torch's axis 1."""
    rng = _rng("labelled")
    class_weight = rng.uniform(0.2, 2, CLASSES)
    spaces = {"rows": (6,), "sequence": (4, 3), "image": (2, 3, 4)}
    for (space, items), weighted, smoothing, ignore in product(
        spaces.items(), (False, True), (0.0, 0.1, 1.0), (None, -100, 2)
    ):
        shape = (items[0], CLASSES, *items[1:])
        x, y = 2 * rng.normal(size=shape), rng.integers(0, CLASSES, items)
        y.flat[0], y.flat[1] = 2, 1  # something to ignore and something not to
        if ignore == -100:
            y = np.where(y == 2, -100, y)
        arrays: Arrays = {"x": x, "y": y}
        name = f"{space},{smoothing=},{ignore=}"
        if weighted:
            arrays, name = {**arrays, "class_weight": class_weight}, f"{name},class_weight"
        params: Params = {"axis": 1, "ignore_index": ignore}
        given = {} if ignore is None else {"ignore_index": ignore}

        def theirs(
            torch: Any,
            t: Any,
            reduction: str,
            given: Params = given,
            smoothing: float = smoothing,
        ) -> Any:
            return torch.nn.functional.cross_entropy(
                t["x"],
                t["y"],
                weight=t.get("class_weight"),
                label_smoothing=smoothing,
                reduction=reduction,
                **given,
            )

        yield Case("cross_entropy", name, arrays, theirs, {**params, "label_smoothing": smoothing})
        if smoothing:
            continue

        def nll(torch: Any, t: Any, reduction: str, given: Params = given) -> Any:
            return torch.nn.functional.nll_loss(
                t["x"], t["y"], weight=t.get("class_weight"), reduction=reduction, **given
            )

        yield Case("nll", name, arrays, nll, params)
        if given:
            continue
        for gamma in (0.0, 2.0, 3.5):

            def focal(torch: Any, t: Any, reduction: str, gamma: float = gamma) -> Any:
                log_p = torch.log_softmax(t["x"], 1).gather(1, t["y"].unsqueeze(1)).squeeze(1)
                items = (1 - log_p.exp()) ** gamma * -log_p
                if "class_weight" not in t:
                    return _reduced(items, reduction)
                weight = t["class_weight"][t["y"]]
                items = weight * items
                return (
                    items.sum() / weight.sum()
                    if reduction == "mean"
                    else _reduced(items, reduction)
                )

            every = {"axis": 1, "gamma": gamma}
            yield Case("softmax_focal", f"{name},{gamma=}", arrays, focal, every)


def _distributed() -> Iterator[Case]:
    """Targets that are distributions over the classes."""
    rng = _rng("distributed")
    class_weight = rng.uniform(0.2, 2, CLASSES)
    for space, items in {"rows": (6,), "sequence": (4, 3), "image": (2, 3, 4)}.items():
        shape, count = (items[0], CLASSES, *items[1:]), int(np.prod(items))
        x = 2 * rng.normal(size=shape)
        e = np.exp(rng.normal(size=shape))
        soft = e / e.sum(1, keepdims=True)
        hot = (soft == soft.max(1, keepdims=True)).astype(float)
        for (kind, y), weighted, smoothing in product(
            {"soft": soft, "one-hot": hot}.items(), (False, True), (0.0, 0.1, 1.0)
        ):
            arrays: Arrays = {"x": x, "y": y}
            name = f"{kind},{space},{smoothing=}"
            if weighted:
                arrays, name = {**arrays, "class_weight": class_weight}, f"{name},class_weight"

            def theirs(torch: Any, t: Any, reduction: str, smoothing: float = smoothing) -> Any:
                return torch.nn.functional.cross_entropy(
                    t["x"],
                    t["y"],
                    weight=t.get("class_weight"),
                    label_smoothing=smoothing,
                    reduction=reduction,
                )

            params: Params = {"axis": 1, "label_smoothing": smoothing}
            over = count if weighted else None
            yield Case("cross_entropy", name, arrays, theirs, params, ("x", "y"), over)

        def focal(torch: Any, t: Any, reduction: str) -> Any:
            log_p = torch.log_softmax(t["x"], 1)
            return _reduced((t["y"] * (1 - log_p.exp()) ** 2 * -log_p).sum(1), reduction)

        yield Case(
            "softmax_focal", f"soft,{space}", {"x": x, "y": soft}, focal, {"axis": 1}, ("x", "y")
        )

        log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
        for log_target in (False, True):

            def kl(torch: Any, t: Any, reduction: str, log_target: bool = log_target) -> Any:
                items = torch.nn.functional.kl_div(
                    t["x"], t["y"], reduction="none", log_target=log_target
                )
                return _reduced(items.sum(1), reduction)

            y = np.log(soft) if log_target else soft
            params = {"axis": 1, "log_target": log_target}
            yield Case(
                "kl_div", f"{space},{log_target=}", {"x": log_p, "y": y}, kl, params, ("x", "y")
            )

        def kl_logits(torch: Any, t: Any, reduction: str) -> Any:
            log_q, log_p = torch.log_softmax(t["x"], 1), torch.log_softmax(t["y"], 1)
            items = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True)
            return _reduced(items.sum(1), reduction)

        pair = {"x": x, "y": rng.normal(size=shape)}
        yield Case("kl_div_with_logits", space, pair, kl_logits, {"axis": 1}, ("x", "y"))

        def js(torch: Any, t: Any, reduction: str) -> Any:
            x, y = t["x"], t["y"]
            m = (x + y) / 2
            items = x * (x / m).log() / 2 + y * (y / m).log() / 2
            return _reduced(items.sum(1), reduction)

        pair = {"x": np.exp(log_p), "y": soft}
        yield Case("js_div", space, pair, js, {"axis": 1}, ("x", "y"))


TORCH_CASES = [*_regression(), *_binary(), *_labelled(), *_distributed()]


def _cast(arrays: Arrays, dtype: str) -> Arrays:
    return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def _ours(case: Case, arrays: Arrays, **options: Any) -> tuple[Any, Any]:
    inputs = [arrays[name] for name in ARGUMENTS if name in arrays]
    more = {name: array for name, array in arrays.items() if name not in ARGUMENTS}
    function = value_and_grad(getattr(tinyloss, case.loss), case.argnums)
    value, grads = function(*inputs, **more, **case.params, **options)
    return value, grads


def _theirs(
    torch: Any, case: Case, arrays: Arrays, reduction: str, mask: Any = None
) -> tuple[Any, list[Any]]:
    tensors = {name: torch.asarray(array.copy()) for name, array in arrays.items()}
    for name in case.by:
        tensors[name].requires_grad_()
    value = case.theirs(torch, tensors, reduction)
    if mask is not None:
        value = value[torch.asarray(mask)].mean()
    value.sum().backward()
    return value.detach().numpy(), [tensors[name].grad.numpy() for name in case.by]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", TORCH_CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_values_and_gradients_are_those_of_torch(case: Case, dtype: str, torch: Any) -> None:
    arrays = _cast(case.arrays, dtype)
    for reduction in REDUCTIONS:
        options: Params = {"reduction": reduction}
        if reduction == "mean" and case.mean_over is not None:
            options["denominator"] = case.mean_over
        value, grads = _ours(case, arrays, **options)
        expected, gradients = _theirs(torch, case, arrays, reduction)
        _close(value, expected, dtype, reduction)
        for name, gradient, other in zip(case.by, grads, gradients, strict=True):
            _close(gradient, other, dtype, f"{reduction}: gradient by {name}")


@pytest.mark.parametrize("case", TORCH_CASES, ids=lambda case: f"{case.loss}[{case.id}]")
def test_a_masked_mean_is_that_of_the_selected_items(case: Case, torch: Any) -> None:
    arrays = case.arrays
    weighted = {"weight", "class_weight"} & set(arrays) or case.params.get("ignore_index")
    items = _ours(case, arrays, reduction="none")[0]
    mask = _rng("mask").uniform(size=items.shape) < 0.6
    options: Params = {"where": mask}
    if weighted:
        options["denominator"] = int(mask.sum())
    value, grads = _ours(case, arrays, **options)
    expected, gradients = _theirs(torch, case, arrays, "none", mask)
    _close(value, expected, np.float64)
    for name, gradient, other in zip(case.by, grads, gradients, strict=True):
        _close(gradient, other, np.float64, f"gradient by {name}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["log_softmax", "softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_functions_of_rows_are_those_of_torch(name: str, dtype: str, axis: int, torch: Any) -> None:
    x = _rng(name).normal(size=(4, 5, 6)).astype(dtype)
    got = getattr(tinyloss, name)(x, axis=axis)
    _close(got, getattr(torch, name)(torch.asarray(x.copy()), axis).numpy(), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softplus_and_log_sigmoid_are_those_of_torch(dtype: str, torch: Any) -> None:
    x = np.linspace(-15, 15, 61).astype(dtype)  # from 20 torch's softplus is the identity
    functional = torch.nn.functional
    for ours, theirs in (
        (tinyloss.softplus, functional.softplus),
        (tinyloss.log_sigmoid, functional.logsigmoid),
    ):
        _close(ours(x), theirs(torch.asarray(x.copy())).numpy(), dtype)


# ----------------------------------------------------------------------------------------- optax


Items = Callable[[Any, Any, Any], Any]
"""From optax's losses, prediction and target to the loss of each item."""


def _optax(name: str, **parameters: Any) -> Items:
    def items(losses: Any, x: Any, y: Any) -> Any:
        return getattr(losses, name)(x, y, **parameters)

    return items


def _squared_hinge(losses: Any, x: Any, y: Any) -> Any:
    return losses.hinge_loss(x, y) ** 2


def _smoothed(losses: Any, x: Any, y: Any) -> Any:
    return losses.softmax_cross_entropy(x, losses.smooth_labels(y, 0.1))


def _optax_cases() -> Iterator[tuple[str, str, Arrays, Params, Items]]:
    """Yield a loss, a name, arrays, our parameters, and optax's items."""
    rng = _rng("optax")
    y = rng.normal(size=(4, 6))
    x = y + np.linspace(-3.7, 4.1, N).reshape(y.shape)
    pair = {"x": x, "y": y}
    yield "log_cosh", "", pair, {}, _optax("log_cosh")
    yield "mse", "", pair, {}, _optax("squared_error")
    for delta in (1.0, 0.4, 2.5):
        yield (
            "huber",
            f"{delta=}",
            pair,
            {"delta": delta},
            _optax("huber_loss", delta=delta),
        )
    hard = rng.integers(0, 2, x.shape).astype(float)
    sign = {"x": x, "y": 2 * hard - 1}
    yield "hinge", "", sign, {}, _optax("hinge_loss")
    yield "squared_hinge", "", sign, {}, _squared_hinge
    binary = {"x": x, "y": hard}
    soft = {"x": x, "y": rng.uniform(0.02, 0.98, x.shape)}
    for kind, arrays in (("hard", binary), ("soft", soft)):
        yield (
            "binary_cross_entropy_with_logits",
            kind,
            arrays,
            {},
            _optax("sigmoid_binary_cross_entropy"),
        )
        for alpha, gamma in product((None, 0.25), (1.0, 2.0, 3.5)):
            yield (
                "sigmoid_focal",
                f"{kind},{alpha=},{gamma=}",
                arrays,
                {"alpha": alpha, "gamma": gamma},
                _optax("sigmoid_focal_loss", alpha=alpha, gamma=gamma),
            )
    e = np.exp(rng.normal(size=x.shape))
    for axis in (-1, 0):
        p = e / e.sum(axis, keepdims=True)
        log_q = x - np.log(np.exp(x).sum(axis, keepdims=True))
        at: Params = {"axis": axis}
        yield (
            "cross_entropy",
            f"soft,{axis=}",
            {"x": x, "y": p},
            at,
            _optax("softmax_cross_entropy", axis=axis),
        )
        yield (
            "kl_div",
            f"{axis=}",
            {"x": log_q, "y": p},
            at,
            _optax("kl_divergence", axis=axis),
        )
        yield (
            "kl_div",
            f"log_target,{axis=}",
            {"x": log_q, "y": np.log(p)},
            {**at, "log_target": True},
            _optax("kl_divergence_with_log_targets", axis=axis),
        )
    labels = rng.integers(0, 6, 4)
    yield (
        "cross_entropy",
        "labels",
        {"x": x, "y": labels},
        {},
        _optax("softmax_cross_entropy_with_integer_labels"),
    )
    yield (
        "cross_entropy",
        "smoothed",
        {"x": x, "y": np.eye(6)[labels]},
        {"label_smoothing": 0.1},
        _smoothed,
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", list(_optax_cases()), ids=lambda case: f"{case[0]}[{case[1]}]")
def test_values_and_gradients_are_those_of_optax(
    case: Any, dtype: str, jax: Any, optax: Any
) -> None:
    loss, _, arrays, params, theirs = case
    arrays = _cast(arrays, dtype)
    # logsumexp in optax's focal loss drops the terms, and slopes, of weight 0: of hard targets.
    hard_focal = loss == "sigmoid_focal" and set(np.unique(arrays["y"])) <= {0.0, 1.0}
    by = (0,) if arrays["y"].dtype.kind == "i" or hard_focal else (0, 1)
    for reduction in REDUCTIONS:

        def reduced(x: Any, y: Any, reduction: str = reduction) -> Any:
            items = theirs(optax, x, y)
            return items.mean() if reduction == "mean" else items.sum()

        inputs = [jax.numpy.asarray(array) for array in arrays.values()]
        expected, gradients = jax.value_and_grad(reduced, by)(*inputs)
        if reduction == "none":
            expected = theirs(optax, *inputs)
        value, grads = value_and_grad(getattr(tinyloss, loss), by)(
            *arrays.values(), **params, reduction=reduction
        )
        _close(value, expected, dtype, reduction)
        for gradient, other in zip(grads, gradients, strict=True):
            _close(gradient, other, dtype, reduction)


# -------------------------------------------------------------------------- scikit-learn and SciPy


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_scikit_learn(weighted: bool, sklearn: Any) -> None:
    rng = _rng("sklearn")
    x, y = np.exp(rng.normal(size=50)), np.exp(rng.normal(size=50))
    weight = rng.uniform(0.1, 2, 50) if weighted else None
    for ours, theirs in (
        (tinyloss.mse, sklearn.mean_squared_error),
        (tinyloss.mae, sklearn.mean_absolute_error),
        (tinyloss.msle, sklearn.mean_squared_log_error),
        (tinyloss.mape, sklearn.mean_absolute_percentage_error),
    ):
        _close(ours(x, y, weight=weight), theirs(y, x, sample_weight=weight), np.float64)
    for q in (0.1, 0.5, 0.9):
        expected = sklearn.mean_pinball_loss(y, x, sample_weight=weight, alpha=q)
        _close(tinyloss.quantile(x, y, q=q, weight=weight), expected, np.float64)

    z, yes = rng.normal(size=50), rng.integers(0, 2, 50)
    p = 1 / (1 + np.exp(-z))
    expected = sklearn.log_loss(yes, p, sample_weight=weight)
    _close(tinyloss.binary_cross_entropy(p, yes, weight=weight), expected, np.float64)
    got = tinyloss.binary_cross_entropy_with_logits(z, yes, weight=weight)
    _close(got, expected, np.float64)
    expected = sklearn.hinge_loss(yes, z, sample_weight=weight)
    _close(tinyloss.hinge(z, yes == 1, weight=weight), expected, np.float64)

    rows, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    p = tinyloss.softmax(rows)
    expected = sklearn.log_loss(labels, p, sample_weight=weight, labels=range(4))
    _close(tinyloss.cross_entropy(rows, labels, weight=weight), expected, np.float64)


def test_values_are_those_of_scipy(scipy: Any) -> None:
    rng = _rng("scipy")
    e, f = np.exp(rng.normal(size=(2, 8, 5)))
    p, q = e / e.sum(-1, keepdims=True), f / f.sum(-1, keepdims=True)
    distance = importlib.import_module("scipy.spatial.distance").jensenshannon
    _close(tinyloss.js_div(p, q, reduction="none"), distance(p, q, axis=-1) ** 2, np.float64)
    expected = scipy.rel_entr(q, p).sum(-1)
    _close(tinyloss.kl_div(np.log(p), q, reduction="none"), expected, np.float64)
    _close(
        tinyloss.kl_div_with_logits(np.log(p), np.log(q), reduction="none"), expected, np.float64
    )
    d = np.linspace(-3, 3, 13)
    for delta in (0.5, 1.0, 2.0):
        got = tinyloss.huber(d, np.zeros_like(d), delta=delta, reduction="none")
        _close(got, scipy.huber(delta, d), np.float64)
    _close(tinyloss.log_softmax(e), scipy.log_softmax(e, axis=-1), np.float64)
    _close(tinyloss.logsumexp(e), scipy.logsumexp(e, axis=-1), np.float64)


# ----------------------------------------------------------------------- different, on purpose


@dataclass(frozen=True)
class Row:
    """A line of the table: where, our answer, the others' answer, and why ours."""

    where: str
    tinyloss: str
    others: str
    why: str

    def __str__(self) -> str:
        return f"| {self.where} | {self.tinyloss} | {self.others} | {self.why} |"


DIFFERENCES: dict[str, Row] = {
    "confident": Row(
        "A confident correct prediction: `cross_entropy` of logits [20, 0], label 0, float32",
        "2.06e-9, gradient (-2.06e-9, 2.06e-9)",
        "torch, optax: 0; torch's gradient (0, 2.06e-9)",
        "the exact loss is not 0, and a row of the gradient sums to 0",
    ),
    "tails": Row(
        "The tails of `softplus`, `binary_cross_entropy_with_logits`, focal losses, `log_cosh`",
        "as accurate as everywhere: softplus(21) = 21.00000000076",
        "torch: softplus(21) = 21, BCE of logit -20 against 0 is 0, focal of 20 is 0; "
        "optax: log_cosh(1e-4) = 0 in float32",
        "formulas that lose nothing to rounding",
    ),
    "small-errors": Row(
        "`huber` for an error of 1e-9, float32",
        "gradient 1e-9",
        "optax: 0",
        "the gradient is a formula of its own, not a derivative of a rounded one",
    ),
    "close-logits": Row(
        "`kl_div_with_logits` of two rows 1e-3 apart, float32",
        "all digits",
        "torch, from log-probabilities: 15 % off",
        "the difference is taken of the logits, before anything is rounded",
    ),
    "soft-margin": Row(
        "`soft_margin` of a score of -100 against 1, float32",
        "100, gradient -1",
        "torch: inf, gradient NaN",
        "exp(100) is not needed to tell the loss",
    ),
    "half-precision": Row(
        "float16 and bfloat16 inputs",
        "the loss is float32, computed in float32; the gradient has the input's dtype",
        "torch: the loss is float16 or bfloat16; squared error of 300 in float16 is inf",
        "a loss in 8 bits is hard to watch, and sums overflow or stop growing",
    ),
    "nothing-selected": Row(
        "The mean where nothing is left: all ignored, all masked, all weights 0, an empty batch",
        "0, gradient 0",
        "torch: NaN",
        "such a batch should change nothing",
    ),
    "weighted-mean": Row(
        "The mean with `weight`: `huber`, `binary_cross_entropy`, "
        "`binary_cross_entropy_with_logits`",
        "divides by the sum of the weights, as every loss; `denominator=n` divides by n",
        "torch: divides by n, though by the sum of the weights in mse_loss, l1_loss and, for "
        "class indices, cross_entropy",
        "one rule: a weight of 2 is the same as the item twice",
    ),
    "class-weights": Row(
        "`cross_entropy` with `class_weight` and probabilities",
        "the mean divides by sum_c class_weight_c y_c: one-hot and class indices agree",
        "torch: divides by the number of rows: 2.03 for one-hot where class indices give 1.02",
        "how a target is written must not change the loss",
    ),
    "weight-0": Row(
        "NaN or inf in an item that is masked, ignored or has weight 0",
        "reaches neither the loss nor any gradient",
        "torch: weight 0 gives NaN, an ignored row of NaN gets a gradient of NaN",
        "items are left out, not multiplied by 0",
    ),
    "ignore-index": Row(
        "`ignore_index`",
        "None: a label of -100 is an error that says how to ignore it",
        "torch: -100",
        "labels are ignored only where you ask",
    ),
    "ignore-index-probabilities": Row(
        "`ignore_index` beside probabilities",
        "an error that names `where=`",
        "torch: no effect for -100, an error for others",
        "there is no index to compare",
    ),
    "impossible-class": Row(
        "A class with logit -inf beside soft or one-hot targets",
        "takes part in nothing: 0 * log 0 = 0",
        "torch, optax: NaN",
        "the limit; class indices agree",
    ),
    "smoothing": Row(
        "`label_smoothing` with a class of logit -inf",
        "spreads over the possible classes only",
        "torch: inf",
        "no probability can be asked of a class that cannot be",
    ),
    "kl-zeros": Row(
        "`kl_div` with a target probability of 0 (or log-probability of -inf)",
        "its term is 0, also for a predicted log-probability of -inf; gradient 0",
        "torch: NaN",
        "0 * log 0 = 0",
    ),
    "kl-mean": Row(
        "The mean of `kl_div`",
        'over rows: torch\'s "batchmean"',
        'torch: reduction="mean" divides by the number of elements, and warns',
        "the divergence of a row is what the name says",
    ),
    "bce-probabilities": Row(
        "`binary_cross_entropy` near p = 0 and 1",
        "exact down to the smallest normal number: 690.8 for p = 1e-300, y = 1; the gradient too: "
        "1 for p = 1e-30, y = 0",
        "torch: the loss stops at 100, the gradient is 1e-18; scikit-learn: 36.04",
        "`eps=1e-7` clips for those who want it",
    ),
    "infinite-logits": Row(
        "Binary logits of inf and -inf",
        "the limit: 0 on the right side, inf on the wrong one",
        "torch: NaN",
        "the limit exists",
    ),
    "kinks": Row(
        "The derivative at a kink: `mae` and `quantile` at x = y, `hinge` at the margin",
        "0 on every library",
        "JAX: 1 for abs at 0; optax: -0.5 for hinge; torch: 0 for l1_loss, -1 for hinge by clamp",
        "one convention; a perfect prediction is left alone",
    ),
    "gaussian-floor": Row(
        "`gaussian_nll` by a variance below `eps`",
        "0",
        "torch: the derivative at eps, as if the variance were not floored",
        "it is the derivative of the loss that is returned",
    ),
    "negative-variance": Row(
        "`gaussian_nll` of a negative variance",
        "NaN for that item",
        "torch: an error",
        "to look would wait for the device, and cannot be done under jit",
    ),
    "outside": Row(
        "`binary_cross_entropy` of a probability outside [0, 1], `msle` below -1",
        "NaN for that item",
        "torch, scikit-learn: an error",
        "the same",
    ),
    "shapes": Row(
        "x of shape (3,) and y of shape (3, 1)",
        "an error that shows both shapes",
        "torch: broadcasts to (3, 3), with a warning or (poisson_nll_loss) without; "
        "optax.huber_loss: broadcasts silently",
        "it is a mistake almost always",
    ),
    "weight-shape": Row(
        "`weight` of fewer dimensions than the items",
        "broadcasts to them",
        "torch: an error for mse_loss",
        "a weight for each column is common",
    ),
    "class-axis": Row(
        "The axis of the classes",
        "the last, or `axis=1`",
        "torch: axis 1; (N, T, T) with the classes last is taken for classes in axis 1",
        "as in the array libraries; the axis is named where it differs",
    ),
    "label-range": Row(
        "A class index out of range",
        "an error that names index, position and range; NaN for that item where labels cannot be "
        "looked at (jit, GPU)",
        "torch: an error without position; optax: NaN for 3 of 3 classes, the last class for -1",
        "nothing is silently wrong",
    ),
    "target-range": Row(
        "A target of a binary loss outside [0, 1], such as a mask of 0 and 255; an integer target "
        "of `hinge`, `squared_hinge` or `soft_margin` other than -1 and 1",
        "an error that names it, also where prediction and target are swapped; NaN for that item "
        "where targets cannot be looked at",
        "torch, optax with logits: a loss below 0 that falls for ever",
        "nothing is silently wrong",
    ),
    "label-dtypes": Row(
        "Targets of any integer dtype or booleans: class indices, one-hot rows, binary targets",
        "taken",
        "torch: class indices must be int64 or uint8, the others floating",
        "the numbers are clear",
    ),
    "signed-booleans": Row(
        "Boolean targets of `hinge`, `squared_hinge`, `soft_margin`",
        "False is -1",
        "torch, optax: False is 0, so that its score does not matter",
        "yes and no are all it can mean",
    ),
    "integer-predictions": Row(
        "Predictions of integers",
        "computed in the library's default floating dtype",
        "torch, optax: an error",
        "the numbers are clear",
    ),
    "parameters": Row(
        "`label_smoothing=-0.5`",
        "an error",
        "torch: ignored silently",
        "parameters are checked when given",
    ),
    "array-parameters": Row(
        "A parameter (`delta`, `q`, `label_smoothing`, ...) that is an array of several numbers",
        "an error: a parameter is one number, Python's or a 0-d array, traced or not",
        "optax: taken, one for each item",
        "what differs from item to item is an argument or a weight",
    ),
    "two-libraries": Row(
        "x of NumPy beside y of JAX, torch or Dask",
        "an error that names both; NumPy arrays and lists are taken beside x of any library",
        "jax, optax: taken, the result is JAX's",
        "results live where x does",
    ),
    "no-curvature": Row(
        "The curvature of `mae`, `quantile` and other losses that are linear almost everywhere",
        '0, the derivative; `hess="boosting"` gives 1 (`mape`: 1 / |y|)',
        "scikit-learn, LightGBM: 1",
        "a second derivative unless you ask for what boosting needs",
    ),
    "msle-negative": Row(
        "`msle` between -1 and 0",
        "(log(1 + x) - log(1 + y))^2, as everywhere above -1",
        "Keras: x and y below 1e-7 count as 1e-7, with gradient 0; scikit-learn: an error for -1",
        "the formula has values there, and a slope to learn from",
    ),
    "square-weight": Row(
        "`weight` of shape (N,) beside items of shape (N, N)",
        "one for each column; `weight[:, None]` is one for each row",
        "scikit-learn, Keras: one for each row",
        "as the array libraries broadcast, whatever the lengths happen to be",
    ),
    "square-variance": Row(
        "`gaussian_nll` with a variance of shape (N,) beside x of shape (N, N)",
        "one for each column; `var[:, None]` is one for each row",
        "torch: one for each row",
        "the same",
    ),
}

HEAD = "| where | tinyloss | others | why |\n| --- | --- | --- | --- |"

_SHOWN: dict[str, str] = {}


def shows(key: str) -> Callable[[Test], Test]:
    """Mark the test of a row of the table."""

    def mark(test: Test) -> Test:
        assert key in DIFFERENCES, key
        assert key not in _SHOWN, key
        _SHOWN[key] = test.__name__
        return test

    return mark


def _float32(*numbers: Any) -> Array:
    return np.array(numbers, dtype=np.float32)


def _torch_gradient(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return value and gradient of a function of one tensor as lists."""
    x = x.clone().requires_grad_()
    value = function(x)
    value.sum().backward()
    return value.tolist(), x.grad.tolist()


@shows("confident")
def test_a_confident_correct_prediction_is_not_0(torch: Any, jax: Any, optax: Any) -> None:
    x, y = _float32([20, 0]), np.array([0])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    assert f"{value:.8g}" == "2.0611537e-09"
    assert gradient.sum() == 0
    entropy = torch.nn.functional.cross_entropy
    other, slope = _torch_gradient(lambda t: entropy(t, torch.asarray(y)), torch.asarray(x.copy()))
    assert other == slope[0][0] == 0
    assert slope[0][1] > 0
    labels = jax.numpy.asarray(y)
    assert optax.softmax_cross_entropy_with_integer_labels(jax.numpy.asarray(x), labels) == 0


@shows("tails")
def test_tails_keep_their_digits(torch: Any, jax: Any, optax: Any) -> None:
    functional = torch.nn.functional
    x = np.array([21.0])
    assert tinyloss.softplus(x)[0] == 21 + np.log1p(np.exp(-21))
    assert functional.softplus(torch.asarray(x.copy())).item() == 21
    x = _float32(-20)
    entropy = tinyloss.binary_cross_entropy_with_logits(x, _float32(0))
    _close(entropy / 2.0611537e-9, 1, np.float32)
    tensor = torch.asarray(x.copy())
    theirs = functional.binary_cross_entropy_with_logits(tensor, torch.zeros(1))
    assert theirs == 0
    _close(tinyloss.sigmoid_focal(-x, _float32(1)) / 8.7565108e-27, 1, np.float32)
    p = torch.sigmoid(-tensor)
    assert ((1 - p) ** 2 * -torch.log(p)).item() == 0
    x = _float32(1e-4)
    _close(tinyloss.log_cosh(x, _float32(0)) / 5e-9, 1, np.float32)
    assert optax.log_cosh(jax.numpy.asarray(x), jax.numpy.zeros(1, "float32"))[0] == 0


@shows("small-errors")
def test_the_gradient_of_a_small_error_is_not_0(jax: Any, optax: Any) -> None:
    x = _float32(1e-9)
    assert tinyloss.grad(tinyloss.huber)(x, _float32(0)) == x
    assert jax.grad(lambda d: optax.huber_loss(d, 0.0))(jax.numpy.float32(1e-9)) == 0


@shows("close-logits")
def test_the_divergence_of_close_logits_has_all_digits(torch: Any) -> None:
    y, x = _float32([1, 2, 3]), _float32([1, 2.001, 3])
    exact = tinyloss.kl_div_with_logits(x.astype(np.float64), y.astype(np.float64))
    _close(tinyloss.kl_div_with_logits(x, y) / exact, 1, np.float32)
    tensors = (torch.log_softmax(torch.asarray(a.copy()), -1) for a in (x, y))
    theirs = torch.nn.functional.kl_div(*tensors, reduction="sum", log_target=True)
    assert abs(theirs.item() / exact - 1) > 0.1


@shows("soft-margin")
def test_soft_margin_does_not_overflow(torch: Any) -> None:
    x, y = _float32(-100), _float32(1)
    value, gradient = tinyloss.value_and_grad(tinyloss.soft_margin)(x, y)
    assert (value, gradient) == (100, -1)
    margin = torch.nn.functional.soft_margin_loss
    other, slope = _torch_gradient(lambda t: margin(t, torch.ones(1)), torch.asarray(x.copy()))
    assert np.isinf(other)
    assert np.isnan(slope).all()


@shows("half-precision")
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_gives_a_float32_loss(half: str, torch: Any) -> None:
    scalar = getattr(ml_dtypes, half, half)
    x, zero = np.array([300, 1], dtype=scalar), np.zeros(2, dtype=scalar)
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, zero)
    assert value.dtype == np.float32
    assert gradient.dtype == x.dtype
    assert value == (float(x[0]) ** 2 + 1) / 2
    tensor = torch.asarray([300.0, 1.0], dtype=getattr(torch, half))
    theirs = torch.nn.functional.mse_loss(tensor, torch.zeros_like(tensor))
    assert theirs.dtype == tensor.dtype
    assert theirs.item() == (np.inf if half == "float16" else 45056)


@shows("nothing-selected")
def test_a_mean_of_nothing_is_0(torch: Any) -> None:
    x, ignored = np.zeros((2, 3)), np.array([-100, -100])
    call = tinyloss.value_and_grad(tinyloss.cross_entropy)
    labels, no = np.array([0, 1]), np.zeros(2)
    for value, gradient in (
        call(x, ignored, ignore_index=-100),
        call(x, labels, where=no.astype(bool)),
        call(x, labels, weight=no),
        call(x, labels, class_weight=np.zeros(3)),
        call(x[:0], labels[:0]),
    ):
        assert value == 0
        assert not gradient.any()
    entropy = torch.nn.functional.cross_entropy
    tensor = torch.asarray(x.copy())
    for theirs in (
        entropy(tensor, torch.asarray(ignored)),
        entropy(tensor, torch.asarray(labels), weight=torch.zeros(3, dtype=torch.float64)),
        entropy(tensor[:0], torch.asarray(labels)[:0]),
        torch.nn.functional.mse_loss(tensor[:0], tensor[:0]),
    ):
        assert theirs.isnan()


@shows("weighted-mean")
@pytest.mark.parametrize(
    "name", ["huber", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_a_weighted_mean_divides_by_the_weights(name: str, torch: Any) -> None:
    x, y, weight = np.array([0.25, 0.75]), np.array([0.0, 0.0]), np.array([1.0, 3.0])
    ours = getattr(tinyloss, name)
    theirs = getattr(torch.nn.functional, "huber_loss" if name == "huber" else name)
    items = ours(x, y, reduction="none")
    _close(ours(x, y, weight=weight), (items * weight).sum() / 4, np.float64)
    twice = ours(x[[0, 1, 1, 1]], y[[0, 1, 1, 1]])
    _close(ours(x, y, weight=weight), twice, np.float64)
    other = theirs(*(torch.asarray(a.copy()) for a in (x, y)), weight=torch.asarray(weight.copy()))
    _close(other.item(), (items * weight).sum() / 2, np.float64)
    _close(ours(x, y, weight=weight, denominator=2), other.item(), np.float64)


@shows("class-weights")
def test_class_weights_count_alike_for_every_kind_of_target(torch: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    y, class_weight = np.array([0, 1]), np.array([1.0, 3.0, 1.0])
    hot = np.eye(3)[y]
    labels, one_hot = (
        tinyloss.cross_entropy(x, target, class_weight=class_weight) for target in (y, hot)
    )
    _close(labels, one_hot, np.float64)
    entropy, weight = torch.nn.functional.cross_entropy, torch.asarray(class_weight)
    tensor = torch.asarray(x)
    _close(labels, entropy(tensor, torch.asarray(y), weight=weight), np.float64)
    theirs = entropy(tensor, torch.asarray(hot), weight=weight).item()
    assert (round(float(labels), 2), round(theirs, 2)) == (1.02, 2.03)


@shows("weight-0")
def test_what_is_left_out_leaks_nothing(torch: Any) -> None:
    functional = torch.nn.functional
    x, y, weight = np.array([1.0, np.nan]), np.zeros(2), np.array([1.0, 0.0])
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y, weight=weight)
    assert value == 1
    assert gradient.tolist() == [2, 0]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert functional.mse_loss(*tensors, weight=torch.asarray(weight.copy())).isnan()

    rows, labels = np.array([[np.nan, 0.0], [0.0, 0.0]]), np.array([-100, 1])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
        rows, labels, ignore_index=-100
    )
    assert gradient.tolist() == [[0, 0], [0.5, -0.5]]
    other, slope = _torch_gradient(
        lambda t: functional.cross_entropy(t, torch.asarray(labels)), torch.asarray(rows.copy())
    )
    _close(value, other, np.float64)
    assert np.isnan(slope[0]).all()


@shows("ignore-index")
def test_labels_are_ignored_only_on_request(torch: Any) -> None:
    x, y = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([-100, 1])
    with pytest.raises(ValueError, match=r"y\[0\] is -100.*ignore_index=-100"):
        tinyloss.cross_entropy(x, y)
    theirs = torch.nn.functional.cross_entropy(torch.asarray(x.copy()), torch.asarray(y.copy()))
    _close(tinyloss.cross_entropy(x, y, ignore_index=-100), theirs.item(), np.float64)


@shows("ignore-index-probabilities")
def test_probabilities_are_not_compared_with_an_index(torch: Any) -> None:
    x, y = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    for index in (-100, 2):
        with pytest.raises(ValueError, match="where="):
            tinyloss.cross_entropy(x, y, ignore_index=index)
    entropy, tensors = torch.nn.functional.cross_entropy, (torch.asarray(x), torch.asarray(y))
    assert entropy(*tensors, ignore_index=-100) == entropy(*tensors)
    with pytest.raises(RuntimeError):
        entropy(*tensors, ignore_index=2)


@shows("impossible-class")
def test_an_impossible_class_takes_part_in_nothing(torch: Any, jax: Any, optax: Any) -> None:
    x, y = _float32([1, -np.inf, 2]), _float32([0.5, 0, 0.5])
    value, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)
    without = tinyloss.value_and_grad(tinyloss.cross_entropy)(x[:, ::2], y[:, ::2])
    assert value == without[0]
    assert gradient.tolist() == [[without[1][0, 0], 0, without[1][0, 1]]]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert torch.nn.functional.cross_entropy(*tensors).isnan()
    assert np.isnan(optax.softmax_cross_entropy(jax.numpy.asarray(x), jax.numpy.asarray(y))).all()


@shows("smoothing")
def test_smoothing_spreads_over_the_possible_classes(torch: Any) -> None:
    x, y = np.array([[1.0, -np.inf, 2.0]]), np.array([0])
    call = tinyloss.value_and_grad(tinyloss.cross_entropy)
    value, gradient = call(x, y, label_smoothing=0.1)
    without = call(x[:, ::2], y, label_smoothing=0.1)
    _close(value, without[0], np.float64)
    _close(gradient[:, ::2], without[1], np.float64)
    assert gradient[0, 1] == 0
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    assert torch.nn.functional.cross_entropy(*tensors, label_smoothing=0.1).isinf()


@shows("kl-zeros")
@pytest.mark.parametrize("log_target", [False, True])
def test_a_target_probability_of_0_adds_nothing(log_target: bool, torch: Any) -> None:
    x, y = np.array([-np.inf, -0.5]), np.array([-np.inf, 0.0]) if log_target else np.array([0, 1.0])
    value, grads = tinyloss.value_and_grad(tinyloss.kl_div, (0, 1))(x, y, log_target=log_target)
    assert value == 0.5
    assert [g.tolist() for g in grads] == [[0, -1], [0, 1.5]]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    theirs = torch.nn.functional.kl_div(*tensors, reduction="sum", log_target=log_target)
    assert theirs.isnan()


@shows("kl-mean")
def test_the_mean_of_kl_div_is_over_rows(torch: Any) -> None:
    rng = _rng("kl-mean")
    x, y = tinyloss.log_softmax(rng.normal(size=(4, 3))), tinyloss.softmax(rng.normal(size=(4, 3)))
    divergence = torch.nn.functional.kl_div
    tensors = torch.asarray(x), torch.asarray(y)
    ours = tinyloss.kl_div(x, y)
    _close(ours, divergence(*tensors, reduction="batchmean").item(), np.float64)
    with pytest.warns(UserWarning, match="batchmean"):
        _close(ours / 3, divergence(*tensors, reduction="mean").item(), np.float64)


@shows("bce-probabilities")
def test_probabilities_are_not_clipped_before_they_have_to_be(torch: Any, sklearn: Any) -> None:
    call = tinyloss.value_and_grad(tinyloss.binary_cross_entropy)
    entropy = torch.nn.functional.binary_cross_entropy
    one, zero = np.ones(1), np.zeros(1)

    def theirs(p: float, y: Array) -> tuple[Any, Any]:
        return _torch_gradient(
            lambda t: entropy(t, torch.asarray(y.copy())), torch.asarray(np.array([p]))
        )

    value, gradient = call(np.array([1e-300]), one)
    _close(value, -np.log(1e-300), np.float64)
    _close(gradient * 1e-300, [-1], np.float64)
    assert theirs(1e-300, one)[0] == 100
    assert round(float(sklearn.log_loss([1], [1e-300], labels=[0, 1])), 2) == 36.04

    value, gradient = call(np.array([1e-30]), zero)
    assert (value, gradient) == (1e-30, 1)
    assert theirs(1e-30, zero)[1][0] < 2e-18

    # The smallest normal number is the floor: finite at 0 too.
    tiny = np.finfo(np.float64).smallest_normal
    value, gradient = call(zero, one)
    _close(value, -np.log(tiny), np.float64)
    assert gradient == -1 / tiny
    _close(call(zero, one, eps=1e-7)[0], -np.log(1e-7), np.float64)


@shows("infinite-logits")
def test_infinite_logits_have_their_limits(torch: Any) -> None:
    x, y = np.array([np.inf, -np.inf, np.inf, -np.inf]), np.array([1.0, 0.0, 0.0, 1.0])
    call = tinyloss.value_and_grad(tinyloss.binary_cross_entropy_with_logits)
    value, gradient = call(x, y, reduction="none")
    assert value.tolist() == [0, 0, np.inf, np.inf]
    assert gradient.tolist() == [0, 0, 1, -1]
    tensors = (torch.asarray(a.copy()) for a in (x, y))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(*tensors, reduction="none")
    assert theirs.isnan().tolist() == [True, True, False, True]


@shows("kinks")
def test_the_derivative_at_a_kink_is_0(torch: Any, jax: Any, optax: Any) -> None:
    one = np.ones(1)
    for loss in (tinyloss.mae, tinyloss.quantile, tinyloss.hinge):
        _, slopes = value_and_grad(loss, (0, 1))(one, one)
        assert slopes == (0, 0)
    assert jax.grad(abs)(0.0) == 1
    assert jax.grad(optax.hinge_loss)(1.0, 1.0) == -0.5
    l1 = torch.nn.functional.l1_loss
    ones = torch.ones(1)
    assert _torch_gradient(lambda t: l1(t, ones), ones)[1] == [0]
    assert _torch_gradient(lambda t: (1 - t).clamp_min(0), ones)[1] == [-1]


@shows("gaussian-floor")
def test_a_floored_variance_has_no_slope(torch: Any) -> None:
    x, y, var = np.ones(1), np.zeros(1), np.array([0.01])
    value, gradient = tinyloss.value_and_grad(tinyloss.gaussian_nll, 2)(x, y, var, eps=0.1)
    assert gradient == 0
    nll, tensors = torch.nn.functional.gaussian_nll_loss, (torch.asarray(x), torch.asarray(y))
    other, slope = _torch_gradient(lambda v: nll(*tensors, v, eps=0.1), torch.asarray(var.copy()))
    _close(value, other, np.float64)
    at_floor = tinyloss.grad(tinyloss.gaussian_nll, 2)(x, y, np.array([0.1]), eps=0.01)
    _close(slope, at_floor, np.float64)


@shows("negative-variance")
def test_a_negative_variance_is_nan(torch: Any) -> None:
    x, var = np.zeros(2), np.array([-1.0, 1.0])
    items = tinyloss.gaussian_nll(x, x, var, reduction="none")
    assert np.isnan(items).tolist() == [True, False]
    tensor = torch.asarray(x)
    with pytest.raises(ValueError, match="negative"):
        torch.nn.functional.gaussian_nll_loss(tensor, tensor, torch.asarray(var))


@shows("outside")
def test_what_is_outside_of_the_domain_is_nan(torch: Any, sklearn: Any) -> None:
    x, y = np.array([-0.1, 1.5, 0.5]), np.ones(3)
    items, gradient = tinyloss.value_and_grad(tinyloss.binary_cross_entropy)(x, y, reduction="none")
    assert np.isnan(items).tolist() == np.isnan(gradient).tolist() == [True, True, False]
    with pytest.raises(RuntimeError):
        torch.nn.functional.binary_cross_entropy(torch.asarray(x), torch.asarray(y))
    items = tinyloss.msle(np.array([-2.0, 1.0]), np.zeros(2), reduction="none")
    assert np.isnan(items).tolist() == [True, False]
    with pytest.raises(ValueError, match="-1"):
        sklearn.mean_squared_log_error([0.0, 0.0], [-2.0, 1.0])


@shows("shapes")
@pytest.mark.parametrize("name", ["mse", "huber", "poisson_nll"])
def test_x_and_y_never_broadcast(name: str, torch: Any, jax: Any, optax: Any) -> None:
    x, y = np.ones(3), np.ones((3, 1))
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3,\)"):
        getattr(tinyloss, name)(x, y)
    theirs = getattr(torch.nn.functional, f"{name}_loss")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items = theirs(torch.asarray(x), torch.asarray(y), reduction="none")
    assert tuple(items.shape) == (3, 3)
    assert bool(caught) is (name != "poisson_nll")
    assert optax.huber_loss(jax.numpy.asarray(x), jax.numpy.asarray(y)).shape == (3, 3)


@shows("weight-shape")
def test_weights_broadcast_to_the_items(torch: Any) -> None:
    x, weight = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    full = np.ascontiguousarray(np.broadcast_to(weight, x.shape))
    zeros = np.zeros_like(x)
    assert tinyloss.mse(x, zeros, weight=weight) == tinyloss.mse(x, zeros, weight=full)
    with pytest.raises(ValueError, match="same size"):
        torch.nn.functional.mse_loss(
            torch.asarray(x), torch.asarray(zeros), weight=torch.asarray(weight)
        )


@shows("class-axis")
def test_classes_are_in_the_last_axis_unless_said(torch: Any) -> None:
    rng = _rng("class-axis")
    x, y = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4))
    entropy = torch.nn.functional.cross_entropy
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2, 3\)"):
        tinyloss.cross_entropy(x, y)
    theirs = entropy(torch.asarray(x), torch.asarray(y)).item()
    _close(tinyloss.cross_entropy(x, y, axis=1), theirs, np.float64)
    square, labels = x[..., :3], y[:, :3]
    theirs = entropy(torch.asarray(square), torch.asarray(labels)).item()
    _close(tinyloss.cross_entropy(square, labels, axis=1), theirs, np.float64)
    assert abs(tinyloss.cross_entropy(square, labels) - theirs) > 0.01


@shows("label-range")
def test_a_label_out_of_range_is_never_silently_wrong(torch: Any, jax: Any, optax: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    last = -np.log(np.exp(0) / np.exp([0.0, 1.0, 0.0]).sum())
    for wrong in (3, -1):
        y = np.array([0, wrong])
        with pytest.raises(ValueError, match=rf"y\[1\] is {wrong}, .*from 0 to 2"):
            tinyloss.cross_entropy(x, y)
        with tinyloss.validation("never"):
            items, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(
                x, y, reduction="none"
            )
        assert np.isnan(items).tolist() == [False, True]
        assert np.isnan(gradient).tolist() == [[False] * 3, [True] * 3]
        with pytest.raises(IndexError, match="out of bounds"):
            torch.nn.functional.cross_entropy(torch.asarray(x), torch.asarray(y))
        theirs = optax.softmax_cross_entropy_with_integer_labels(
            jax.numpy.asarray(x), jax.numpy.asarray(y)
        )[1]
        _close(theirs, np.nan if wrong == 3 else last, np.float64)


@shows("target-range")
def test_a_target_outside_its_range_is_an_error(torch: Any) -> None:
    optax, F = pytest.importorskip("optax"), torch.nn.functional
    x, mask = np.array([3.0, -1.0], np.float32), np.array([255.0, 0.0], np.float32)
    ours, logits = tinyloss.binary_cross_entropy_with_logits, torch.asarray(x)
    with pytest.raises(ValueError, match=r"y\[0\] is 255"):
        ours(x, mask)
    with pytest.raises(ValueError, match="the prediction comes first"):
        ours(mask / 255, x)
    with pytest.raises(ValueError, match="expected -1 or 1"):
        tinyloss.hinge(x, mask.astype(int) // 255)
    for theirs in (
        F.binary_cross_entropy_with_logits(logits, torch.asarray(mask)).item(),
        float(optax.sigmoid_binary_cross_entropy(x, mask).mean()),
    ):
        assert theirs < -100


@shows("label-dtypes")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64", "bool"])
def test_targets_are_of_any_integer_dtype(dtype: str, torch: Any) -> None:
    functional = torch.nn.functional
    x, y = np.array([[1.0, 2.0], [0.5, 0.0]]), np.array([0, 1])
    expected = tinyloss.cross_entropy(x, y)
    assert tinyloss.cross_entropy(x, y.astype(dtype)) == expected
    hot = np.eye(2)[y]
    _close(tinyloss.cross_entropy(x, hot.astype(dtype)), expected, np.float64)
    binary = tinyloss.binary_cross_entropy_with_logits
    assert binary(x, hot.astype(dtype)) == binary(x, hot)
    if dtype not in ("int64", "uint8"):
        labels = torch.asarray(y.astype(dtype))
        with pytest.raises((RuntimeError, IndexError)):
            functional.cross_entropy(torch.asarray(x), labels)
    with pytest.raises(RuntimeError):
        functional.cross_entropy(torch.asarray(x), torch.asarray(hot.astype(dtype)))


@shows("signed-booleans")
@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "soft_margin"])
def test_false_is_minus_1(name: str, torch: Any, jax: Any, optax: Any) -> None:
    x, y = np.array([0.5, 0.5]), np.array([True, False])
    loss = getattr(tinyloss, name)
    assert (loss(x, y) == loss(x, np.array([1.0, -1.0]))).all()
    theirs = optax.hinge_loss(jax.numpy.asarray(x), jax.numpy.asarray(y))
    assert theirs.tolist() == [0.5, 1]
    margin = torch.nn.functional.soft_margin_loss
    items = margin(torch.asarray(x), torch.asarray(y), reduction="none")
    _close(items[1].item(), np.log(2), np.float64)


@shows("integer-predictions")
def test_integer_predictions_are_computed_in_floating_point(
    torch: Any, jax: Any, optax: Any
) -> None:
    x, y = np.array([1, 2]), np.array([0, 0])
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    assert value == 2.5
    assert value.dtype == gradient.dtype == np.float64
    assert gradient.tolist() == [1, 2]
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.nn.functional.mse_loss(torch.asarray(x), torch.asarray(y))
    with pytest.raises(TypeError):
        optax.squared_error(jax.numpy.asarray(x), jax.numpy.asarray(y))


@shows("parameters")
def test_a_negative_smoothing_is_an_error(torch: Any) -> None:
    x, y = np.array([[1.0, 2.0]]), np.array([0])
    with pytest.raises(ValueError, match="label_smoothing"):
        tinyloss.cross_entropy(x, y, label_smoothing=-0.5)
    entropy, tensors = torch.nn.functional.cross_entropy, (torch.asarray(x), torch.asarray(y))
    assert entropy(*tensors, label_smoothing=-0.5) == entropy(*tensors)


@shows("array-parameters")
def test_a_parameter_is_one_number(jax: Any, optax: Any) -> None:
    x, y, delta = jax.numpy.asarray([3.0, 3.0]), jax.numpy.zeros(2), jax.numpy.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=r"delta is a .* of shape \(2,\), .* or a 0-d array\)"):
        tinyloss.huber(x, y, delta=delta)
    assert optax.huber_loss(x, y, delta=delta).tolist() == [2.5, 4]
    for huber in (tinyloss.huber, optax.huber_loss):
        assert jax.jit(lambda delta, huber=huber: huber(x, y, delta=delta).mean())(1.0) == 2.5


@shows("two-libraries")
def test_arrays_are_of_one_library(jax: Any, optax: Any) -> None:
    x, y = np.array([1.0, 2.0]), jax.numpy.zeros(2)
    with pytest.raises(TypeError, match="y: is of jax beside x of numpy"):
        tinyloss.mse(x, y)
    assert isinstance(tinyloss.mse(y, x), jax.Array)
    assert isinstance(optax.squared_error(x, y), jax.Array)


@shows("no-curvature")
@pytest.mark.parametrize("name", ["mae", "quantile", "hinge", "mape"])
def test_linear_losses_have_no_curvature(name: str, request: pytest.FixtureRequest) -> None:
    x, y = np.array([3.0, -2.0]), np.array([1.0, 1.0])
    grad_and_hess: Any = tinyloss.grad_and_hess
    _, h = grad_and_hess(getattr(tinyloss, name))(x, y)
    assert h.tolist() == [0, 0]
    absolute = _peer("sklearn._loss", request).AbsoluteError()
    assert absolute.gradient_hessian(y, x)[1].tolist() == [1, 1]


@shows("msle-negative")
def test_msle_has_values_above_minus_1(sklearn: Any) -> None:
    x, y = np.array([-0.5]), np.array([1.0])
    value, gradient = tinyloss.value_and_grad(tinyloss.msle)(x, y)
    _close(value, (np.log(0.5) - np.log(2)) ** 2, np.float64)
    _close(gradient, [2 * (np.log(0.5) - np.log(2)) / 0.5], np.float64)
    with pytest.raises(ValueError, match="-1"):
        sklearn.mean_squared_log_error(y, np.array([-1.0]))


@shows("square-weight")
def test_weights_of_a_square_are_of_its_columns(sklearn: Any) -> None:
    x, weight = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 3.0])
    zeros = np.zeros_like(x)
    assert tinyloss.mse(x, zeros, weight=weight) == (1 + 9 + 3 * (4 + 16)) / 8
    of_rows = tinyloss.mse(x, zeros, weight=weight[:, None])
    assert of_rows == (1 + 4 + 3 * (9 + 16)) / 8
    assert sklearn.mean_squared_error(zeros, x, sample_weight=weight) == of_rows


@shows("square-variance")
def test_variances_of_a_square_are_of_its_columns(torch: Any) -> None:
    x, var = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 4.0])
    zeros = np.zeros_like(x)
    of_columns = tinyloss.gaussian_nll(x, zeros, np.stack([var, var]))
    assert tinyloss.gaussian_nll(x, zeros, var) == of_columns
    of_rows = tinyloss.gaussian_nll(x, zeros, var[:, None])
    assert of_rows != of_columns
    tensors = [torch.asarray(each) for each in (x, zeros, var)]
    _close(torch.nn.functional.gaussian_nll_loss(*tensors).item(), of_rows, np.float64)


def test_every_difference_has_its_test() -> None:
    assert list(_SHOWN) == list(DIFFERENCES)
    assert set(_SHOWN.values()) <= set(globals())


def test_the_readme_shows_the_table() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert "\n".join([HEAD, *map(str, DIFFERENCES.values())]) in readme


if __name__ == "__main__":
    print(HEAD, *DIFFERENCES.values(), sep="\n")
