"""Losses with every parameter, away from kinks, for what is held to central differences."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.cases import CASES as CALLS
from tests.support.specs import EXACT

Array = npt.NDArray[Any]
Params = dict[str, Any]

ITEMS, CLASSES = (2, 3), 4


# ----------------------------------------------------------------------------------- what is tried


@dataclass(frozen=True)
class Case:
    """A loss with its parameters and inputs, classes in the last axis."""

    loss: str
    id: str
    arrays: dict[str, Array]
    params: Params = field(default_factory=dict[str, Any])
    fixed: tuple[str, ...] = ()
    """Arguments that the loss is not differentiated by: class indices."""

    @property
    def argnums(self) -> tuple[int, ...]:
        return tuple(k for k, name in enumerate(self.arrays) if name not in self.fixed)

    @property
    def exact_params(self) -> Params:
        return {k: v for k, v in self.params.items() if k != "axis"}

    def item_shape(self) -> tuple[int, ...]:
        x = self.arrays["x"]
        return x.shape[:-1] if EXACT[self.loss].rowwise else x.shape


def _rng(loss: str) -> np.random.Generator:
    return np.random.default_rng([7, *loss.encode()])


def _regression() -> Iterator[Case]:
    # Differences on both sides of every threshold: |x - y| from 0.03 to 5, none on a kink.
    difference = np.array([[0.03, -0.2, 0.7], [-1.3, 2.1, -5.0]])
    plain: dict[str, list[Params]] = {
        "mse": [{}],
        "mae": [{}],
        "huber": [{}, {"delta": 0.5}, {"delta": 3.0}],
        "smooth_l1": [{}, {"beta": 0.5}, {"beta": 3.0}, {"beta": 0.0}],
        "log_cosh": [{}],
        "quantile": [{}, {"q": 0.9}, {"q": 0.0}, {"q": 1.0}],
        "mape": [{}, {"eps": 0.5}],
    }
    for loss, parameters in plain.items():
        y = _rng(loss).normal(size=ITEMS)
        for params in parameters:
            yield Case(loss, _name(params), {"x": y + difference, "y": y}, params)

    rng = _rng("msle")
    yield Case("msle", "", {"x": rng.uniform(-0.8, 3, ITEMS), "y": rng.uniform(-0.8, 3, ITEMS)})

    rng = _rng("poisson_nll")
    count = np.array([[0.0, 1.0, 3.0], [0.4, 1.6, 12.0]])
    # Not on the step of Stirling's term at a count of 1.
    real = np.array([[0.2, 0.7, 3.0], [0.4, 1.6, 12.0]])
    log_rate = rng.normal(size=ITEMS)
    for params in ({}, {"full": True}):
        y = real if params else count
        yield Case("poisson_nll", _name(params), {"x": log_rate, "y": y}, params)
    for params in (
        {"log_input": False},
        {"log_input": False, "eps": 0.5},
        {"log_input": False, "full": True},
    ):
        yield Case("poisson_nll", _name(params), {"x": np.exp(log_rate), "y": real}, params)

    rng = _rng("gaussian_nll")
    x, y, var = rng.normal(size=ITEMS), rng.normal(size=ITEMS), rng.uniform(0.1, 3, ITEMS)
    var[0, 1] = 0.125
    for params in ({}, {"full": True}, {"eps": 0.25}, {"log_var": True}):
        yield Case("gaussian_nll", _name(params), {"x": x, "y": y, "var": var}, params)


def _binary() -> Iterator[Case]:
    rng = _rng("binary")
    hard = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    soft = rng.uniform(0.05, 0.95, ITEMS)
    logits = np.array([[-3.0, 2.0, -0.4], [1.5, 5.0, 0.1]])
    loss = "binary_cross_entropy"
    p = 1 / (1 + np.exp(-logits))
    for kind, y in (("hard", hard), ("soft", soft)):
        yield Case(loss, kind, {"x": p, "y": y})
    # Where the clipping bites, the derivative is a convention: tests.test_golden has it.
    yield Case(loss, "eps=1e-3", {"x": p, "y": soft}, {"eps": 1e-3})
    yield Case(loss, "label_smoothing=0.1", {"x": p, "y": soft}, {"label_smoothing": 0.1})

    loss = "binary_cross_entropy_with_logits"
    for (kind, y), params in product(
        (("hard", hard), ("soft", soft)),
        (
            {},
            {"pos_weight": 3.0},
            {"pos_weight": np.array([0.5, 2.0, 3.0])},
            {"label_smoothing": 0.1},
        ),
    ):
        yield Case(loss, f"{kind},{_name(params)}", {"x": logits, "y": y}, params)

    for (kind, y), params in product(
        (("hard", hard), ("soft", soft)),
        (
            {},
            {"alpha": 0.25},
            {"gamma": 0.0},
            {"gamma": 0.5},
            {"gamma": 1.0, "alpha": 0.9},
            {"gamma": 3.5},
            {"gamma": 0.5, "alpha": 0.25, "label_smoothing": 0.1},
        ),
    ):
        yield Case("sigmoid_focal", f"{kind},{_name(params)}", {"x": logits, "y": y}, params)

    sign = 2 * hard - 1
    for loss in ("hinge", "squared_hinge", "soft_margin"):
        yield Case(loss, "", {"x": logits, "y": sign})
        yield Case(loss, "real targets", {"x": logits, "y": sign * (soft + 0.5)})


def _rows() -> Iterator[Case]:
    rng = _rng("rows")
    shape = (*ITEMS, CLASSES)
    x = 2 * rng.normal(size=shape)
    labels = np.array([[0, 3, 1], [2, 2, 0]])
    e = np.exp(rng.normal(size=shape))
    soft = e / e.sum(-1, keepdims=True)
    loose = rng.uniform(0.1, 2, shape)
    class_weight = np.array([0.5, 2.0, 1.25, 0.1])
    masked = x.copy()
    masked[0, 0, 1] = masked[1, 2, 3] = -np.inf

    weights: list[Params] = [{}, {"class_weight": class_weight}]
    labelled = {"x": x, "y": labels}
    for params in weights:
        for smoothing, ignore in product(
            ({}, {"label_smoothing": 0.1}), ({}, {"ignore_index": 2}, {"ignore_index": -100})
        ):
            y = labels
            if ignore.get("ignore_index") == -100:
                y = np.where(labels == 2, -100, labels)
            every = {**params, **smoothing, **ignore}
            case = {"x": x, "y": y}
            yield Case("cross_entropy", f"labels,{_name(every)}", case, every, ("y",))
        for smoothing in ({}, {"label_smoothing": 0.1}, {"label_smoothing": 1.0}):
            every = {**params, **smoothing}
            yield Case("cross_entropy", f"soft,{_name(every)}", {"x": x, "y": soft}, every)
            yield Case("cross_entropy", f"loose,{_name(every)}", {"x": x, "y": loose}, every)
            yield Case(
                "cross_entropy",
                f"masked,{_name(every)}",
                {"x": masked, "y": labels},
                every,
                ("y",),
            )
    for params, smoothing in product(weights, ({}, {"label_smoothing": 0.1})):
        every = {"from_logits": False, **params, **smoothing}
        name = _name(every)
        case = {"x": loose / 2.5, "y": labels}
        yield Case("cross_entropy", f"labels,{name}", case, every, ("y",))
        yield Case("cross_entropy", f"soft,{name}", {"x": loose / 2.5, "y": soft}, every)
    shaping: Params = {"temperature": 0.5, "z_loss": 0.125}
    weighing: Params = {"class_weight": class_weight, "label_smoothing": 0.1}
    for every in ({"softcap": 3.0}, {**shaping, **weighing}):
        yield Case("cross_entropy", f"labels,{_name(every)}", labelled, every, ("y",))
    every = {"softcap": 3.0, **shaping, **weighing}
    yield Case("cross_entropy", f"soft,{_name(every)}", {"x": x, "y": soft}, every)
    yield Case("cross_entropy", "axis=1", labelled, {"axis": 1}, ("y",))
    yield Case("cross_entropy", "soft,axis=0", {"x": x, "y": soft}, {"axis": 0})

    smoothed: Params = {"gamma": 1.5, "label_smoothing": 0.1}
    for params in weights:
        for gamma in ({}, {"gamma": 0.0}, {"gamma": 0.5}, {"gamma": 3.0}, smoothed):
            every = {**params, **gamma}
            name = _name(every)
            yield Case("softmax_focal", f"labels,{name}", labelled, every, ("y",))
            yield Case("softmax_focal", f"soft,{name}", {"x": x, "y": soft}, every)
        every = {**params, "ignore_index": 2}
        yield Case("softmax_focal", f"labels,{_name(every)}", labelled, every, ("y",))
        log_p = np.log(soft)
        for ignore in ({}, {"ignore_index": 2}):
            every = {**params, **ignore}
            yield Case("nll", _name(every), {"x": log_p, "y": labels}, every, ("y",))
    likely: Params = {"x": loose / 2.5, "y": labels}
    for every in ({"gamma": 0.5}, {"gamma": 2.0}, {**smoothed, "class_weight": class_weight}):
        every = {"from_logits": False, **every}
        yield Case("softmax_focal", f"labels,{_name(every)}", likely, every, ("y",))
        yield Case("softmax_focal", f"soft,{_name(every)}", {**likely, "y": soft}, every)
    yield Case("softmax_focal", "soft,axis=1", {"x": x, "y": soft}, {"axis": 1})
    yield Case("nll", "axis=0", {"x": np.log(soft), "y": labels}, {"axis": 0}, ("y",))

    other = np.exp(rng.normal(size=shape))
    other /= other.sum(-1, keepdims=True)
    for axis in ({}, {"axis": 1}):
        pairs = {"x": np.log(other), "y": soft}
        yield Case("kl_div", _name(axis), pairs, axis)
        logs = {"x": np.log(other), "y": np.log(soft)}
        yield Case(
            "kl_div", _name({"log_target": True, **axis}), logs, {"log_target": True, **axis}
        )
        logits = {"x": x, "y": np.log(soft) + 1}
        yield Case("kl_div_with_logits", _name(axis), logits, axis)
        cooled = {"temperature": 2.5, **axis}
        yield Case("kl_div_with_logits", _name(cooled), logits, cooled)
        yield Case("js_div", _name(axis), {"x": other, "y": soft}, axis)
    yield Case("js_div", "loose", {"x": other, "y": loose})


def _name(params: Params) -> str:
    def show(value: Any) -> str:
        return "array" if isinstance(value, np.ndarray) else str(value)

    return ",".join(f"{k}={show(v)}" for k, v in params.items())


def _others(known: set[str]) -> Iterator[Case]:
    """Yield the ordinary calls of the losses that have no list here."""
    for call in CALLS:
        if call.loss.__name__ in known or "axis" in call.options:
            continue
        arrays: dict[str, Array] = {}
        for name, each in zip(EXACT[call.loss.__name__].arguments, call.arrays, strict=True):
            classes = each.shape[len(call.items) :]
            wide = each.astype(np.float64) if each.dtype.kind == "f" else each
            arrays[name] = np.resize(wide, (*ITEMS, *classes))
        fixed = ("y",) if call.argnums == (0,) else ()
        yield Case(call.loss.__name__, _name(call.options), arrays, call.options, fixed)


_OWN = [*_regression(), *_binary(), *_rows()]
CASES = [*_OWN, *_others({case.loss for case in _OWN})]
