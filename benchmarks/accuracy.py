"""How accurate each loss and each of its derivatives is, against mpmath.

    python -m benchmarks.accuracy [--losses mse,huber] [--libraries numpy,cupy] [--n 120]
                                  [--quick] [--json PATH]

For each loss it prints the largest error over all families of inputs (`tests/support/specs.py`), in
eps of the dtype. tinyloss is measured on NumPy arrays, with and without compiling, on CuPy arrays
if there is a GPU, on JAX arrays and on torch's tensors. torch, optax and scikit-learn stand beside
it if they have the loss. On JAX arrays, under `jax.jit`, it is measured with its own derivatives
(`jax.jit`) and with its value differentiated by JAX (`jax.grad`). On torch's tensors its value is
differentiated by torch (`torch.backward`), and in float32 and float64 the same under
`torch.compile`, compiled once for each set of parameters. The status is 1 if tinyloss exceeds a
bound of its contract. `python -m benchmarks.tables accuracy` prints the documentation's table.

Means are measured as whole calls on each of these, against the exact quotient of the two sums: with
weights of every scale, and with weights and masks that broadcast.

torch's gradients come from its autograd, optax's from `jax.grad`, scikit-learn's from the private
classes of its gradient boosting.
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tinyloss_numpy
from benchmarks._printing import console_of, markdown_table, progress_bar, write_report
from benchmarks.gpu import device, no_gpu
from tests.support.answers import answers, differentiable
from tests.support.dtypes import DTYPES, compute_dtype
from tests.support.exact import Truth, evaluate, split
from tests.support.families import HALF_BOUND, allowed, families, judge, scales
from tests.support.peers import indices_of
from tests.support.specs import BOUNDS, EXACT, SEQUENCES
from tinyloss.cli.measure import library, machine, versions

N = 120
RESULTS = Path(__file__).parent / "results" / "accuracy.json"
OURS = ("numpy", "compiled", "cupy", "jax.jit", "jax.grad", "torch.backward", "torch.compile")
LIBRARIES = {
    "numpy": ("float32", "float64", "float16", "bfloat16"),
    "compiled": ("float32", "float64", "float16", "bfloat16"),
    "cupy": ("float32", "float64", "float16", "bfloat16"),
    "jax.jit": ("float32", "float64", "float16", "bfloat16"),
    "jax.grad": ("float32", "float64", "float16", "bfloat16"),
    "torch.backward": ("float32", "float64", "float16", "bfloat16"),
    "torch.compile": ("float32", "float64"),
    "torch": ("float32", "float64"),
    "optax": ("float32", "float64"),
    "sklearn": ("float32", "float64"),
}
MODULES = ("tinyloss", "numpy", "ml_dtypes", "mpmath", "cupy", "jax", "torch", "optax", "sklearn")
FLUSHING = ("jax.jit", "jax.grad", "optax")
"""XLA's CPU code flushes numbers that are subnormal in the compute dtype: results and inputs."""
FLUSHED_CLASSES = 2000
"""Below this many smallest normal numbers over eps (2e-28 in float32) flushing may show."""

Got = dict[str, npt.NDArray[Any]]


@dataclass
class Cell:
    """One loss, one of its results, one dtype, one library."""

    loss: str
    result: str
    dtype: str
    library: str
    bound: float = 0.0
    worst: float = 0.0
    """The worst error that is a number."""
    family: str = ""
    items: int = 0
    misses: int = 0
    zeros: int = 0
    nans: int = 0
    infinities: int = 0
    finites: int = 0
    flushed: int = 0
    """Results too small for the bound where subnormal numbers are flushed."""
    worst_flushed: float = 0.0
    families: dict[str, float] = field(default_factory=dict[str, float])
    examples: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    note: str = ""


# ------------------------------------------------------------------------------------- libraries


def jax() -> Any:
    module = library("jax")
    if module is not None:
        module.config.update("jax_enable_x64", True)
    return module


def function_of(loss: str) -> Any:
    """Return tinyloss's function of this name."""
    return getattr(importlib.import_module("tinyloss"), loss)


def ask_autodiff(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return tinyloss's value of each item, and its gradients by JAX's autodiff."""
    function = function_of(loss)
    arguments, parameters = split(loss, kwargs)
    if not EXACT[loss].target:
        raise NotImplementedError  # they have no gradients here, and `jax.jit` has their values

    def total(*arguments: Any) -> tuple[Any, Any]:
        value = function(*arguments, reduction="none", **parameters)
        return value.sum(), value

    numbers = differentiable(loss, *arguments[:2])
    differentiated = jax().value_and_grad(total, tuple(numbers.values()), has_aux=True)
    (_, value), gradients = differentiated(*arguments)
    return {"value": value, **dict(zip(numbers, gradients, strict=True))}


def ask_formulas(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    with tinyloss_numpy.compilation("never"):
        return answers(loss, kwargs)


def ask_compiled(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    with tinyloss_numpy.compilation("always"), tinyloss_numpy.threads(1):
        return answers(loss, kwargs)


def ask_cupy(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    cupy = library("cupy")
    arrays, given = arrays_of(kwargs)
    on_device = {name: cupy.asarray(a) for name, a in arrays.items()}
    results = answers(loss, {**on_device, **dict(given)})
    return {name: cupy.asnumpy(result) for name, result in results.items()}


Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]


@cache
def compiled(ask: Ask, loss: str, given: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return tinyloss under jit, with parameters as constants and arrays as arguments."""

    def call(arrays: dict[str, Any]) -> dict[str, Any]:
        return ask(loss, {**arrays, **dict(given)})

    jitted: Callable[..., Any] = jax().jit(call)
    return jitted


def arrays_of(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    arrays = {name: value for name, value in kwargs.items() if isinstance(value, np.ndarray)}
    rest = tuple((name, value) for name, value in kwargs.items() if name not in arrays)
    return arrays, rest


def ask_jit(ask: Ask, loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    arrays, given = arrays_of(kwargs)
    xp = jax().numpy
    return dict(compiled(ask, loss, given)({name: xp.asarray(a) for name, a in arrays.items()}))


def tensor(array: npt.NDArray[Any]) -> Any:
    """Return an array as a tensor of its own memory."""
    torch = library("torch")
    if array.dtype == ml_dtypes.bfloat16:  # torch takes it from nobody
        return torch.as_tensor(array.astype(np.float32)).to(torch.bfloat16)
    return torch.as_tensor(array.copy())


def on_host(tensor: Any) -> npt.NDArray[Any]:
    torch, result = library("torch"), tensor.detach()
    array: npt.NDArray[Any] = (result.float() if result.dtype == torch.bfloat16 else result).numpy()
    return array


Items = Callable[[list[Any], dict[str, Any]], Any]


@cache
def items_of(loss: str, given: tuple[tuple[str, Any], ...]) -> Items:
    """Return a loss of each item as a function of tensors, with parameters as constants."""
    function = function_of(loss)
    constants = dict(given) | ({"reduction": "none"} if EXACT[loss].target else {})

    def call(arguments: list[Any], tensors: dict[str, Any]) -> Any:
        return function(*arguments, **tensors, **constants)

    return call


@cache
def compiled_items_of(loss: str, given: tuple[tuple[str, Any], ...]) -> Items:
    """Return the same under torch.compile, with all lengths unknown but 1."""
    torch = library("torch")
    if loss in SEQUENCES:
        raise NotImplementedError  # of which torch.compile has no part: they leave its program
    # Else dynamic=True takes parameters for unknown numbers, too.
    importlib.import_module("torch._dynamo").config.specialize_float = True
    # One program too many is an error, not eager code.
    bounded = {"isolate_recompiles": True, "recompile_limit": 64, "fullgraph": True}
    jitted: Items = torch.compile(items_of(loss, given), dynamic=True, **bounded)
    return jitted


def ask_backward(items: Callable[..., Items], loss: str, kwargs: Mapping[str, Any]) -> Got:
    """Return tinyloss's value of each item, and its gradients by torch's autograd."""
    arrays, given = arrays_of(kwargs)
    tensors = {name: tensor(array) for name, array in arrays.items()}
    arguments = [tensors.pop(name) for name in EXACT[loss].arguments]
    if not EXACT[loss].target:
        return {"value": on_host(items(loss, given)(arguments, tensors))}
    numbers = differentiable(loss, *arguments[:2])
    moving = [arguments[number].requires_grad_() for number in numbers.values()]
    value = items(loss, given)(arguments, tensors)
    gradients = library("torch").autograd.grad(value.sum(), moving)
    results = zip(("value", *numbers), (value, *gradients), strict=True)
    return {name: on_host(result) for name, result in results}


def only(parameters: Mapping[str, Any], *known: str) -> None:
    """Refuse parameters that a library's loss does not have."""
    if set(parameters) - set(known):
        raise NotImplementedError


def torch_loss(loss: str, x: Any, y: Any, **parameters: Any) -> Any:
    """Return torch's loss of each item."""
    torch = library("torch")
    f, each = torch.nn.functional, {"reduction": "none"}
    get = parameters.get
    if loss in ("mse", "mae", "soft_margin"):
        only(parameters)
        name = {"mse": "mse_loss", "mae": "l1_loss", "soft_margin": "soft_margin_loss"}[loss]
        return getattr(f, name)(x, y, **each)
    if loss == "multilabel_soft_margin":
        only(parameters)
        return f.multilabel_soft_margin_loss(x, y, **each)
    if loss == "multilabel_margin":
        only(parameters)
        return f.multilabel_margin_loss(x, indices_of(torch, y), **each)
    if loss == "multi_margin":
        weight = get("class_weight")
        options = {k: v for k, v in parameters.items() if k in ("margin", "p")}
        only(parameters, "class_weight", *options)
        weight = None if weight is None else torch.as_tensor(weight)
        return f.multi_margin_loss(x, y, weight=weight, **options, **each)
    if loss in ("huber", "smooth_l1"):
        return getattr(f, f"{loss}_loss")(x, y, **parameters, **each)
    if loss == "poisson_nll":
        return f.poisson_nll_loss(x, y, **parameters, **each)
    if loss == "gaussian_nll":
        only(parameters, "var", "full", "eps")
        return f.gaussian_nll_loss(x, y, **parameters, **each)
    if loss == "binary_cross_entropy":
        only(parameters)
        return f.binary_cross_entropy(x, y, **each)
    if loss == "binary_cross_entropy_with_logits":
        weight = get("pos_weight")
        only(parameters, "pos_weight")
        weight = None if weight is None else torch.as_tensor(weight)
        return f.binary_cross_entropy_with_logits(x, y, pos_weight=weight, **each)
    if loss == "sigmoid_focal":  # the formula of torchvision.ops.sigmoid_focal_loss
        p, alpha = torch.sigmoid(x), get("alpha")
        only(parameters, "alpha", "gamma")
        entropy = f.binary_cross_entropy_with_logits(x, y, **each)
        value = entropy * (1 - (p * y + (1 - p) * (1 - y))) ** get("gamma", 2.0)
        return value if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * value
    if loss in ("cross_entropy", "nll"):
        weight = get("class_weight")
        options = {k: v for k, v in parameters.items() if k != "class_weight"}
        name = "nll_loss" if loss == "nll" else loss
        weight = None if weight is None else torch.as_tensor(weight)
        return getattr(f, name)(x, y, weight=weight, **options, **each)
    if loss == "ctc":
        frames, labels = (torch.full(x.shape[:1], a.shape[1]) for a in (x, y))
        log_p = x.log_softmax(-1).transpose(0, 1)
        return f.ctc_loss(log_p, y, frames, labels, **parameters, **each)
    if loss == "kl_div":
        return f.kl_div(x, y, **parameters, **each).sum(-1)
    if loss == "kl_div_with_logits":
        only(parameters)
        return f.kl_div(x.log_softmax(-1), y.log_softmax(-1), log_target=True, **each).sum(-1)
    if loss in ("softmax", "log_softmax", "logsumexp"):
        return getattr(torch, loss)(x, -1)
    if loss in ("softplus", "log_sigmoid"):
        return getattr(f, loss.replace("_", ""))(x)
    raise NotImplementedError


def ask_torch(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    torch = library("torch")
    arrays, given = arrays_of(kwargs)
    tensors = {name: tensor(a) for name, a in arrays.items()}
    x = tensors.pop("x").requires_grad_()
    value = torch_loss(loss, x, tensors.pop("y", None), **tensors, **dict(given))
    out = {"value": value.detach().numpy()}
    if EXACT[loss].target:
        (gradient,) = torch.autograd.grad(value.sum(), x)
        out["x"] = gradient.numpy()
    return out


def optax_loss(loss: str, x: Any, y: Any, **parameters: Any) -> Any:
    """Return optax's loss of each item."""
    losses, nn = library("optax").losses, library("jax").nn
    if loss in ("log_softmax", "softmax", "softplus", "log_sigmoid"):
        return getattr(nn, loss)(x)
    if loss == "logsumexp":
        return nn.logsumexp(x, axis=-1)
    if loss == "cross_entropy":
        only(parameters)
        if x.ndim == y.ndim:
            return losses.softmax_cross_entropy(x, y)
        return losses.softmax_cross_entropy_with_integer_labels(x, y)
    if loss == "poly_cross_entropy":
        only(parameters, "epsilon")
        y = y if x.ndim == y.ndim else nn.one_hot(y, x.shape[-1], dtype=x.dtype)
        return losses.poly_loss_cross_entropy(x, y, **parameters)
    if loss == "ctc":
        padding = (jax().numpy.zeros(a.shape[:2]) for a in (x, y))
        return losses.ctc_loss(x, next(padding), y, next(padding), parameters.get("blank", 0))
    if loss == "fenchel_young":
        only(parameters)
        if x.ndim == y.ndim:
            raise NotImplementedError
        return losses.multiclass_sparsemax_loss(x, y)
    if loss == "kl_div":
        only(parameters, "log_target")
        if parameters.get("log_target"):
            return losses.kl_divergence_with_log_targets(x, y)
        return losses.kl_divergence(x, y)
    if loss == "kl_div_with_logits":
        only(parameters)
        return losses.kl_divergence_with_log_targets(nn.log_softmax(x), nn.log_softmax(y))
    name, known = {
        "mse": ("squared_error", ()),
        "huber": ("huber_loss", ("delta",)),
        "log_cosh": ("log_cosh", ()),
        "hinge": ("hinge_loss", ()),
        "perceptron": ("perceptron_loss", ()),
        "categorical_hinge": ("multiclass_hinge_loss", ()),
        "binary_cross_entropy_with_logits": ("sigmoid_binary_cross_entropy", ()),
        "sigmoid_focal": ("sigmoid_focal_loss", ("alpha", "gamma")),
    }.get(loss, ("", ()))
    if not name:
        raise NotImplementedError
    only(parameters, *known)
    return getattr(losses, name)(x, y, **parameters)


@cache
def compiled_optax(loss: str, given: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    def total(x: Any, others: dict[str, Any]) -> tuple[Any, Any]:
        arrays = dict(others)
        value = optax_loss(loss, x, arrays.pop("y", None), **arrays, **dict(given))
        return value.sum(), value

    jitted: Callable[..., Any] = jax().jit(jax().value_and_grad(total, has_aux=True))
    return jitted


def ask_optax(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    arrays, given = arrays_of(kwargs)
    on_device = {name: jax().numpy.asarray(a) for name, a in arrays.items()}
    (_, value), gradient = compiled_optax(loss, given)(on_device.pop("x"), on_device)
    return {"value": value, "x": gradient} if EXACT[loss].target else {"value": value}


def ask_sklearn(loss: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    (x, *targets), parameters = split(loss, kwargs)
    if loss in ("msle", "mape"):
        only(parameters)
        metrics = importlib.import_module("sklearn.metrics")
        name = {"msle": "mean_squared_log_error", "mape": "mean_absolute_percentage_error"}[loss]
        y, x = targets[0][None], x[None]
        return {"value": np.asarray(getattr(metrics, name)(y, x, multioutput="raw_values"))}
    losses = importlib.import_module("sklearn._loss.loss")
    if loss == "quantile":
        only(parameters, "q")
        if isinstance(parameters.get("q"), np.ndarray):
            raise NotImplementedError
        function, factor = losses.PinballLoss(quantile=parameters.get("q", 0.5)), 1
    elif loss == "cross_entropy":
        only(parameters)
        if targets[0].ndim == x.ndim or x.shape[-1] < 3:
            raise NotImplementedError
        function, factor = losses.HalfMultinomialLoss(n_classes=x.shape[-1]), 1
    else:
        # "Half" is half the squared error, and half the deviance: the negative log-likelihood.
        only(parameters)
        name, factor = {
            "mse": ("HalfSquaredError", 2),
            "mae": ("AbsoluteError", 1),
            "poisson_nll": ("HalfPoissonLoss", 1),
            "binary_cross_entropy_with_logits": ("HalfBinomialLoss", 1),
        }.get(loss, ("", 1))
        if not name:
            raise NotImplementedError
        function = getattr(losses, name)()
    data = {"y_true": targets[0].astype(x.dtype), "raw_prediction": x}
    value, gradient = function.loss(**data), function.gradient(**data)
    return {"value": factor * value, "x": factor * gradient}


ASK: dict[str, Ask] = {
    "numpy": ask_formulas,
    "compiled": ask_compiled,
    "cupy": ask_cupy,
    "jax.jit": partial(ask_jit, answers),
    "jax.grad": partial(ask_jit, ask_autodiff),
    "torch.backward": partial(ask_backward, items_of),
    "torch.compile": partial(ask_backward, compiled_items_of),
    "torch": ask_torch,
    "optax": ask_optax,
    "sklearn": ask_sklearn,
}
NEEDS = {
    "compiled": "llvmlite",
    "cupy": "cupy",
    "jax.jit": "jax",
    "jax.grad": "jax",
    "torch.backward": "torch",
    "torch.compile": "torch",
    "torch": "torch",
    "optax": "optax",
    "sklearn": "sklearn",
}


# ----------------------------------------------------------------------------------- measuring


def item_of(kwargs: Mapping[str, Any], index: tuple[int, ...], rowwise: bool) -> dict[str, Any]:
    """Return the inputs of the item that a result belongs to."""
    item = index[:1] if rowwise else index
    shown: dict[str, Any] = {}
    for name, value in kwargs.items():
        if not isinstance(value, np.ndarray) or name == "class_weight":
            shown[name] = value.tolist() if isinstance(value, np.ndarray) else value
        else:
            each = np.asarray(value[item])
            each = each.astype(np.float64) if each.dtype.kind not in "iub" else each
            shown[name] = each.tolist()
    return shown


def flushable(
    kwargs: Mapping[str, Any], truth: Truth, dtype: str, loss: str
) -> npt.NDArray[np.bool_]:
    """Return whether flushed subnormal numbers may change a result."""
    info, depth = np.finfo(compute_dtype(DTYPES[dtype])), EXACT[loss].depth
    tiny, x = float(info.smallest_normal), kwargs["x"]
    classes = max(FLUSHED_CLASSES, x.shape[-1] if depth else 1)
    items = x.shape[: x.ndim - depth]
    small = np.abs(truth.float64()) < classes * tiny / float(info.eps)
    smoothing = kwargs.get("label_smoothing", 0.0)
    small = small | (0 < smoothing < tiny * x.shape[-1])  # each class's share is subnormal
    for a in split(loss, kwargs)[0]:
        if a.dtype.kind in "iub":
            continue
        subnormal = (a != 0) & (np.abs(a) < tiny)
        if depth:
            subnormal = subnormal.reshape(*items, -1).any(axis=-1)
            whole = items + (1,) * (depth if truth.shape == x.shape else 0)
            subnormal = subnormal.reshape(whole)
        small = small | subnormal
    return np.broadcast_to(small, truth.shape)


def conventions(
    loss: str, result: str, kwargs: Mapping[str, Any], truth: Truth
) -> npt.NDArray[np.bool_]:
    """Return whether a peer may differ: at a kink, at a probability's floor, in its smoothing."""
    if loss in ("mae", "quantile", "hinge", "perceptron") and result == "x":
        return np.asarray(truth.high == 0)
    if loss == "binary_cross_entropy":
        x = kwargs["x"]
        floor = float(ml_dtypes.finfo(x.dtype).smallest_normal)
        return np.asarray((x < floor) | (1 - x < floor))
    smoothed_over_masked = bool(kwargs.get("label_smoothing")) and bool(np.isinf(kwargs["x"]).any())
    return np.full(truth.shape, smoothed_over_masked)


def record(
    cell: Cell,
    family: str,
    kwargs: Mapping[str, Any],
    got: npt.NDArray[Any],
    truth: Truth,
    errors: npt.NDArray[np.float64],
    bound: float,
) -> None:
    """Add the errors of one family to a cell."""
    rowwise, exact = EXACT[cell.loss].rowwise, truth.float64()
    numbers = np.asarray(got).astype(np.float64)
    counted = ~truth.open
    if cell.library not in OURS:
        counted &= ~conventions(cell.loss, cell.result, kwargs, truth)
    if cell.library in FLUSHING:
        small = flushable(kwargs, truth, cell.dtype, cell.loss) & counted
        info = np.finfo(compute_dtype(DTYPES[cell.dtype]))
        floor = 2 * FLUSHED_CLASSES * float(info.smallest_normal) / float(info.eps)
        # What is flushed must be small still, unless the inputs were flushed; it is never NaN.
        large = (np.abs(exact) < floor) & (np.abs(numbers) > 2 * floor)
        odd = small & (large | np.isnan(numbers))
        flushed = small & ~odd
        cell.flushed += int((flushed & (errors > bound)).sum())
        cell.worst_flushed = max(
            cell.worst_flushed, float(errors[flushed & np.isfinite(errors)].max(initial=0.0))
        )
        counted &= ~flushed
    errors = np.where(counted, errors, 0.0)
    missed = errors > bound
    cell.bound = max(cell.bound, bound)
    cell.items += int(counted.sum())
    cell.misses += int(missed.sum())
    cell.zeros += int((missed & (numbers == 0)).sum())
    cell.nans += int((missed & np.isnan(numbers)).sum())
    cell.infinities += int((missed & np.isinf(numbers)).sum())
    cell.finites += int((missed & np.isfinite(numbers) & ~np.isfinite(exact)).sum())
    usual = errors[np.isfinite(numbers) & np.isfinite(exact)].max(initial=0.0)
    cell.families[family] = float(errors.max(initial=0.0))
    if usual > cell.worst or not cell.family:
        cell.worst, cell.family = max(float(usual), cell.worst), family
    if missed.any() and cell.library in OURS and len(cell.examples) < 60:
        index = tuple(int(i) for i in np.unravel_index(int(errors.argmax()), errors.shape))
        cell.examples.append(
            {
                "family": family,
                "misses": int(missed.sum()),
                "index": list(index),
                "inputs": item_of(kwargs, index, rowwise),
                "got": float(numbers[index]),
                "exact": float(exact[index]),
                "error": float(errors[index]),
                "bound": bound,
            }
        )


def measure(loss: str, dtype: str, n: int, libraries: Iterable[str]) -> list[Cell]:
    """Return all cells of a loss in a dtype; the exact results are computed once for all."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    cells: dict[tuple[str, str], Cell] = {}
    notes: dict[str, str] = {}
    if (torch := library("torch")) is not None and any("torch" in name for name in libraries):
        torch.set_num_threads(1)
    # Rows cost their classes, sequences and images their frames or classes besides.
    n = max(n // 3 ** EXACT[loss].depth, 4) if EXACT[loss].depth else n
    for family, kwargs in families(loss, dtype, n=n):
        truth, scale = evaluate(loss, **kwargs), scales(loss, kwargs)
        for name in libraries:
            if dtype not in LIBRARIES[name]:
                continue
            try:
                got = {what: np.asarray(a) for what, a in ASK[name](loss, kwargs).items()}
            except NotImplementedError:
                continue
            except Exception as error:  # a peer that refuses inputs is a note, not an end
                if name in OURS:
                    raise RuntimeError(f"{name}: {loss} {dtype} {family}: {error}") from error
                notes[name] = f"{type(error).__name__} in {family}"
                continue
            for what, verdict in judge(loss, kwargs, got, truth, scale).items():
                cell = cells.setdefault((what, name), Cell(loss, what, dtype, name))
                record(cell, family, kwargs, got[what], truth[what], verdict.errors, verdict.bound)
    for (_, name), cell in cells.items():
        cell.note = notes.get(name, "")
    return list(cells.values())


# ---------------------------------------------------------------------------------- whole calls

MEANS: dict[str, tuple[float, tuple[int, ...]]] = {
    "each": (1.0, (256, 3)),
    "scale 1e-38": (1e-38, (256, 3)),
    "scale 1e-44": (1e-44, (256, 3)),
    "scale 1e35": (1e35, (256, 3)),
    "one for each row": (1.0, (256, 1)),
    "one for each column": (1.0, (3,)),
    "rows, scale 1e-38": (1e-38, (256, 1)),
    "columns, scale 1e35": (1e35, (3,)),
}
"""Scale and shape of the weights of 256 x 3 items: powers of 2 times the scale."""
WIDE_MEANS = {"float64 1e-50": 1e-50, "float64 1e40": 1e40}
"""Scales of float64 weights beside float32 items."""
MEAN_BOUND = 16.0
"""Two sums of at most ten levels, each half an eps, and three roundings of an item's term."""


def mean_error(name: str, scale: float, shape: tuple[int, ...], dtype: Any) -> float | None:
    """Return the error of a weighted mean and of its gradient, in eps, whichever is worse.

    None where XLA on the CPU takes weights for 0.
    """
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 256, 3)).astype(np.float32)
    weight = (2.0 ** rng.integers(0, 4, shape) * scale).astype(dtype)
    if not weight.all() or not np.isfinite(weight).all():
        raise ValueError(f"no weights of {scale} in {np.dtype(dtype)}")
    if name in FLUSHING and (weight < np.finfo(dtype).smallest_normal).any():
        return None
    w = np.broadcast_to(weight.astype(np.longdouble), x.shape)
    d = x.astype(np.longdouble) - y
    wanted = (w * d * d).sum() / w.sum(), 2 * w * d / w.sum()
    ask: Any = importlib.import_module("tinyloss").value_and_grad(function_of("mse"))
    if name == "jax.jit":
        on_device = jax().numpy.asarray
        got = jax().jit(lambda *a: ask(*a[:2], weight=a[2]))(*map(on_device, (x, y, weight)))
    else:
        mode: Any = "always" if name == "compiled" else "never"
        with tinyloss_numpy.compilation(mode):
            got = ask(x, y, weight=weight)
    errors = [
        np.abs(np.asarray(a, np.longdouble) / b - 1).max() / np.finfo(np.float32).eps
        for a, b in zip(got, wanted, strict=True)
    ]
    worst = float(max(errors))
    return worst if worst == worst else math.inf


def print_means(console: Console, libraries: Iterable[str]) -> int:
    """Print the errors of weighted means; return how many are beyond their bound."""
    names = [name for name in ("numpy", "compiled", "jax.jit") if name in libraries]
    table = Table(title="Means of mse with weights, value and gradient, in eps of float32")
    for column in ("weights", *names):
        table.add_column(column, justify="left" if column == "weights" else "right")
    cases: dict[str, tuple[float, tuple[int, ...], Any]]
    cases = {label: (*given, np.float32) for label, given in MEANS.items()}
    cases |= {label: (scale, (256, 3), np.float64) for label, scale in WIDE_MEANS.items()}
    missed = 0
    for label, (scale, shape, dtype) in cases.items():
        errors = [mean_error(name, scale, shape, dtype) for name in names]
        missed += sum(error is not None and error > MEAN_BOUND for error in errors)
        table.add_row(
            label,
            *(
                "†"
                if error is None
                else f"[{'green' if error <= MEAN_BOUND else 'bold red'}]{number(error)}[/]"
                for error in errors
            ),
        )
    if names:
        console.print(table)
    return missed


# ------------------------------------------------------------------------------------- printing


def number(error: float) -> str:
    if not math.isfinite(error):
        return ">1e308"
    if error < 9999:
        return (
            f"{error:.2f}" if error < 0.995 else f"{error:.1f}" if error < 100 else f"{error:.0f}"
        )
    return f"{error:.0e}".replace("e+0", "e").replace("e+", "e")


def flags(cell: Cell) -> str:
    """Return how many results are 0, NaN, infinite or finite where they must not be."""
    counts = {"Z": cell.zeros, "N": cell.nans, "I": cell.infinities, "F": cell.finites}
    return "".join(f" {flag}{count}" for flag, count in counts.items() if count)


def shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = number(cell.worst) + ("†" if cell.flushed else "") + flags(cell)
    if cell.library in OURS:
        return f"[green]{text}[/]" if not cell.misses else f"[bold red]{text}[/]"
    failed = cell.worst > 100 or flags(cell)
    return f"[red]{text}[/]" if failed else text


Grid = dict[tuple[str, str, str, str], Cell]


def results_by_name(loss: str) -> tuple[str, ...]:
    """Return the names of what is measured of a loss, in the order of the table."""
    return ("value", *EXACT[loss].arguments, "curvature")


def heading(result: str) -> str:
    """Return what a result is, for tables."""
    return result if result in ("value", "curvature") else f"d/d{result}"


def rows_of(grid: Grid) -> list[tuple[str, str]]:
    present = {(loss, result) for loss, result, _, _ in grid}
    return [
        (loss, result)
        for loss in EXACT
        for result in results_by_name(loss)
        if (loss, result) in present
    ]


def bound_text(loss: str, result: str) -> str:
    promise = BOUNDS[loss].promised[result]
    return f"{promise.eps:g}" + (f" + {promise.per_gamma:g}γ" if promise.per_gamma else "")


def print_table(console: Console, grid: Grid) -> None:
    table = Table(title="Worst error in eps, over all families of inputs", title_justify="left")
    table.add_column("loss", no_wrap=True)
    table.add_column("result")
    table.add_column("bound", justify="right")
    used = [
        (name, dtype)
        for name, dtypes in LIBRARIES.items()
        for dtype in dtypes
        if any(key[2:] == (dtype, name) for key in grid)
    ]
    for name, dtype in used:
        label = f"tinyloss {name}" if name in OURS else name
        table.add_column(f"{label}\n{dtype}", justify="right")
    table.add_column("")
    before = ""
    for loss, result in rows_of(grid):
        if before and loss != before:
            table.add_section()
        cells = [grid.get((loss, result, dtype, name)) for name, dtype in used]
        ours = [cell for cell in cells if cell is not None and cell.library in OURS]
        good = not any(cell.misses for cell in ours)
        table.add_row(
            loss if loss != before else "",
            heading(result),
            bound_text(loss, result),
            *(shown(cell) for cell in cells),
            "[green]PASS[/]" if good else "[bold red]FAIL[/]",
        )
        before = loss
    console.print(table)
    console.print(
        escape(
            "Errors are relative to the exact result or, where terms of opposite sign add up to "
            "it, to the sum of their magnitudes.\n"
            "Losses of half-precision inputs are float32, and measured in its eps; their "
            f"gradients are rounded once: at most {HALF_BOUND} eps.\n"
            "Z, N, I, F: results that are 0, NaN, infinite, or finite where they must not be. "
            "Empty: the library does not have it.\n"
            "† XLA on CPU flushes subnormal numbers: results below 2e-28 (float32; 2e-289 in "
            "float64) are not measured there."
        )
    )


def print_misses(console: Console, grid: Grid) -> None:
    failed = [cell for cell in grid.values() if cell.library in OURS and cell.misses]
    for cell in failed:
        console.print(
            f"[bold red]{cell.loss} {heading(cell.result)}[/] on {cell.library} {cell.dtype}: "
            f"{cell.misses} of {cell.items} beyond the bound"
        )
        for example in cell.examples:
            inputs = ", ".join(f"{name}={value!r}" for name, value in example["inputs"].items())
            console.print(
                escape(
                    f"  {example['family']}: {example['misses']} misses; worst at "
                    f"{example['index']}: got {example['got']!r}, exact {example['exact']!r}, "
                    f"{number(example['error'])} eps, allowed {example['bound']:g}; {inputs}"
                ),
                highlight=False,
                soft_wrap=True,
            )
    for cell in grid.values():
        if cell.note and cell.result == "value":
            console.print(f"note: {cell.library} {cell.dtype}, {cell.loss}: {cell.note}")


def read(path: Path) -> Grid:
    """Return what was measured before."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for row in rows:
        row["worst"] = float(row["worst"])  # infinity is written as a word
        row["families"] = {name: float(each) for name, each in row.get("families", {}).items()}
    cells = [Cell(**row) for row in rows]
    return {(cell.loss, cell.result, cell.dtype, cell.library): cell for cell in cells}


def results_of(loss: str) -> dict[str, list[str]]:
    """Return the results of a loss for the table, which shows gradients of one bound as one."""
    exact, groups = EXACT[loss], {"value": ["value"]}
    if not exact.target:
        return groups
    for argument in exact.gradients:
        alike = allowed(loss, argument, {}) == allowed(loss, "x", {})
        groups.setdefault("x" if alike else argument, []).append(argument)
    return groups | ({"curvature": ["curvature"]} if exact.curved else {})


def markdown(grid: Grid) -> str:
    """Return the documentation's table: the bounds, the worst of tinyloss's ways, the others."""

    def plain(cells: Iterable[Cell]) -> str:
        here = list(cells)
        if not here:
            return ""
        marks = ", ".join(
            mark
            for mark, count in (
                ("0", sum(cell.zeros for cell in here)),
                ("NaN", sum(cell.nans for cell in here)),
                ("inf", sum(cell.infinities + cell.finites for cell in here)),
            )
            if count
        )
        worst = max(cell.worst for cell in here)
        text = (number(worst) if worst else "0") + (f" ({marks})" if marks else "")
        return f"**{text}**" if marks or worst > 100 else text

    def joined(texts: Mapping[str, str]) -> str:
        shown = {name: text for name, text in texts.items() if text}
        arguments = shown.keys() - {"value", "x", "curvature"}
        others = [f"{name} {shown.pop(name)}" for name in texts if name in arguments]
        if others:
            shown["x"] += f" ({', '.join(others)})"
        return ", ".join(shown.values())

    def measured(loss: str, dtype: str, *names: str) -> str:
        texts = {
            group: plain(
                grid[key]
                for result in results
                for name in names
                if (key := (loss, result, dtype, name)) in grid
            )
            for group, results in results_of(loss).items()
        }
        return joined(texts)

    heads = ["loss", "bound", "tinyloss float32", "tinyloss float64"]
    heads += [f"{name} float32" for name in ("tinyloss torch.backward", "torch", "optax")]
    heads.append("scikit-learn float32")
    others = ("torch.backward", "torch", "optax", "sklearn")
    lines = [
        [
            f"`{loss}`",
            joined({group: bound_text(loss, group) for group in results_of(loss)}),
            measured(loss, "float32", *OURS),
            measured(loss, "float64", *OURS),
            *[measured(loss, "float32", name) for name in others],
        ]
        for loss in dict.fromkeys(loss for loss, _ in rows_of(grid))
    ]
    return "\n".join(markdown_table(heads, lines))


def finite(value: Any) -> Any:
    """Return a number that JSON can hold: no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value


def row_of(cell: Cell) -> dict[str, Any]:
    row = asdict(cell)
    row["families"] = {name: float(f"{error:.3g}") for name, error in cell.families.items()}
    row["worst"], row["worst_flushed"] = (
        float(f"{error:.3g}") for error in (cell.worst, cell.worst_flushed)
    )
    kept: dict[str, Any] = finite({name: value for name, value in row.items() if value != ""})
    return kept


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.accuracy", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--losses", help="losses to measure, with commas between; default: all")
    parser.add_argument("--dtypes", help="dtypes to measure, with commas between; default: all")
    parser.add_argument("--libraries", help="columns to fill, with commas between; default: all")
    parser.add_argument("--n", type=int, help=f"items of a family (rows: a third); default {N}")
    parser.add_argument("--quick", action="store_true", help="few items; default --n 10")
    parser.add_argument(
        "--json",
        type=Path,
        help=f"where results are written; default: into {RESULTS.name}, if there are {N} items",
    )
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2))
    given = parser.parse_args(arguments)

    losses = given.losses.split(",") if given.losses else list(EXACT)
    dtypes = given.dtypes.split(",") if given.dtypes else list(DTYPES)
    libraries = given.libraries.split(",") if given.libraries else list(LIBRARIES)
    wrong = (set(losses) - set(EXACT)) | (set(dtypes) - set(DTYPES))
    wrong |= set(libraries) - set(LIBRARIES)
    if wrong:
        parser.error(f"unknown: {', '.join(sorted(wrong))}")
    # What is said of XLA is said of its code for CPUs; and it would take a GPU's memory for itself.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    n = given.n or (10 if given.quick else N)
    without_gpu = no_gpu()
    console = console_of(250 if without_gpu else 290)
    present: list[str] = []
    for name in libraries:
        if library(NEEDS.get(name, "numpy")) is None:
            console.print(f"note: {name} is not installed; its columns are left out")
        elif name == "cupy" and without_gpu:
            console.print(f"note: cupy is left out: {escape(without_gpu)}", soft_wrap=True)
        else:
            present.append(name)

    started = time.perf_counter()
    grid: Grid = {}
    # The dearest first, so that the processes end together.
    cost = {"softmax_focal": 3, "cross_entropy": 3, "sigmoid_focal": 2, "kl_div_with_logits": 2}
    tasks = sorted(
        ((loss, dtype) for loss in losses for dtype in dtypes),
        key=lambda task: -cost.get(task[0], 1) * (2 if task[1] in LIBRARIES["jax.jit"] else 1),
    )
    work = partial(measure, n=n, libraries=present)
    progress = progress_bar(40)
    # Not a fork: jax and torch start threads.
    context = multiprocessing.get_context("spawn")
    with progress, ProcessPoolExecutor(given.processes, mp_context=context) as pool:
        bar = progress.add_task("accuracy", total=len(tasks))
        futures = {pool.submit(work, *task): task for task in tasks}
        for future in as_completed(futures):
            for cell in future.result():
                grid[cell.loss, cell.result, cell.dtype, cell.library] = cell
            progress.update(bar, advance=1, description=" ".join(futures[future]))

    print_table(console, grid)
    print_misses(console, grid)
    seconds = time.perf_counter() - started
    report = {
        "machine": machine() | ({"gpu": device()} if "cupy" in present else {}),
        "versions": versions(MODULES),
        "n": n,
        "seconds": round(seconds, 1),
    }
    whole = n == N and given.json is None
    kept = read(RESULTS) | grid if whole else grid
    if whole or given.json:
        cells = [row_of(kept[key]) for key in sorted(kept)]
        write_report(given.json or RESULTS, report, {"cells": cells})
    ours = [cell for cell in grid.values() if cell.library in OURS]
    missed = sum(bool(cell.misses) for cell in ours)
    missed += print_means(console, present)
    console.print(f"{len(ours)} cells, {missed} beyond their bound, {seconds:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
