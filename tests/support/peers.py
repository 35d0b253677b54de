"""Torch's ways to say our losses, on ordinary inputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.specs import EXACT

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Params = dict[str, Any]


# The peers' own errors, not ours: they cancel (p - y, log p + ...) between terms of the size of the
# largest entry, each with a few roundings and an exp or a log of 2 to 4 eps, and sum a few dozen.
# Ours are bound by tests.test_golden.
PEER_EPS = 32.0


def close(got: Any, expected: Any, dtype: Any, what: str = "") -> None:
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, what
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    tolerance = PEER_EPS * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * size, err_msg=what)


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
        return tuple(EXACT[self.loss].arguments.index(name) for name in self.by)


def _reduced(items: Any, reduction: str) -> Any:
    return {"none": items, "sum": items.sum(), "mean": items.mean()}[reduction]


def indices_of(torch: Any, tags: Any) -> Any:
    """Return the indices of each row's labels that are 1, which -1 ends."""
    given, order = torch.sort(tags, dim=-1, descending=True, stable=True)
    return torch.where(given > 0, order, -1)


def rng_of(seed: str) -> np.random.Generator:
    return np.random.default_rng([11, *seed.encode()])


def _name(params: Params) -> str:
    return ",".join(f"{k}={v}" for k, v in params.items())


N = 24


def _regression() -> Iterator[Case]:
    rng = rng_of("regression")
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

    for distribution, kind in (("gaussian", "Normal"), ("laplace", "Laplace")):

        def score(torch: Any, t: Any, reduction: str, kind: str = kind) -> Any:
            forecast = getattr(torch.distributions, kind)(t["x"], t["scale"])
            return _reduced(-forecast.log_prob(t["y"]), reduction)

        of: Params = {"distribution": distribution}
        arrays = {"x": x, "y": y, "scale": variance}
        yield Case("log_score", _name(of), arrays, score, of, (*both, "scale"))


def _binary() -> Iterator[Case]:
    rng = rng_of("binary")
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
    rng = rng_of("labelled")
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
    rng = rng_of("distributed")
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

        def distilled(torch: Any, t: Any, reduction: str) -> Any:
            log_q, log_p = [torch.log_softmax(t[name] / 2.5, 1) for name in ("x", "y")]
            items = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True)
            return _reduced(2.5**2 * items.sum(1), reduction)

        cooled: Params = {"axis": 1, "temperature": 2.5}
        yield Case("kl_div_with_logits", f"{space},2.5", pair, distilled, cooled, ("x", "y"))

        def js(torch: Any, t: Any, reduction: str) -> Any:
            x, y = t["x"], t["y"]
            m = (x + y) / 2
            items = x * (x / m).log() / 2 + y * (y / m).log() / 2
            return _reduced(items.sum(1), reduction)

        pair = {"x": np.exp(log_p), "y": soft}
        yield Case("js_div", space, pair, js, {"axis": 1}, ("x", "y"))


def _margins() -> Iterator[Case]:
    """Losses of a margin over many classes, and of several labels: rows alone."""
    rng = rng_of("margins")
    x, labels = 2 * rng.normal(size=(6, CLASSES)), rng.integers(0, CLASSES, 6)
    arrays: Arrays = {"x": x, "y": labels}
    weighted: Arrays = {**arrays, "class_weight": rng.uniform(0.2, 2, CLASSES)}
    for (weighs, given), p in product((("", arrays), ("class_weight", weighted)), (1, 2)):
        params: Params = {"margin": 1.5, "p": p}

        def margin(torch: Any, t: Any, reduction: str, params: Params = params) -> Any:
            return torch.nn.functional.multi_margin_loss(
                t["x"], t["y"], weight=t.get("class_weight"), reduction=reduction, **params
            )

        yield Case("multi_margin", f"{weighs},{p=}", given, margin, params, mean_over=6)

    def soft(torch: Any, t: Any, reduction: str) -> Any:
        return torch.nn.functional.multilabel_soft_margin_loss(t["x"], t["y"], reduction=reduction)

    pair = {"x": x, "y": rng.integers(0, 2, x.shape).astype(float)}
    yield Case("multilabel_soft_margin", "", pair, soft)

    def of_tags(torch: Any, t: Any, reduction: str) -> Any:
        listed = indices_of(torch, t["y"])
        return torch.nn.functional.multilabel_margin_loss(t["x"], listed, reduction=reduction)

    yield Case("multilabel_margin", "", pair, of_tags)


TORCH_CASES = [*_regression(), *_binary(), *_labelled(), *_distributed(), *_margins()]
