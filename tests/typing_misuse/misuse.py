"""A user's program in which every marked line is a wrong call, and no other line is."""

from typing import Any

import numpy as np
import numpy.typing as npt

import tinyloss

Floats = npt.NDArray[np.float32]


def regression(x: Floats, y: Floats) -> None:
    tinyloss.mse(x)  # error
    tinyloss.mse(x, y, "sum")  # error
    tinyloss.mse(x, y, reduction="avg")  # error
    tinyloss.mse(x, y, sample_weight=y)  # error
    tinyloss.mse([1.0], y)  # error
    tinyloss.mse(x, None)  # error
    tinyloss.mae(x, y, y)  # error
    tinyloss.mae(x, y, reduction=True)  # error
    tinyloss.huber(x, y, 1.0)  # error
    tinyloss.huber(x, y, delta="1")  # error
    tinyloss.huber(x, y, beta=1.0)  # error
    tinyloss.smooth_l1(x, y, delta=1.0)  # error
    tinyloss.smooth_l1(x, y, beta=y)  # error
    tinyloss.log_cosh(x, target=y)  # error
    tinyloss.log_cosh(x, y, reduction="batchmean")  # error
    tinyloss.quantile(x, y, 0.9)  # error
    tinyloss.quantile(x, y, q=[0.1, 0.9])  # error
    tinyloss.msle(y_pred=x, y_true=y)  # error
    tinyloss.msle(x, y, reduction=None)  # error
    tinyloss.mape(x, y, eps=None)  # error
    tinyloss.mape(x, y, epsilon=1e-3)  # error
    tinyloss.poisson_nll(x, y, log_input="no")  # error
    tinyloss.poisson_nll(x, y, True)  # error
    tinyloss.poisson_nll(x, y, log_target=True)  # error
    tinyloss.gaussian_nll(x, y)  # error
    tinyloss.gaussian_nll(x, y, x, 1e-6)  # error
    tinyloss.gaussian_nll(x, y, x, full=1e-6)  # error


def classification(x: Floats, y: Floats) -> None:
    tinyloss.cross_entropy(x)  # error
    tinyloss.cross_entropy(x, y, from_logits="no")  # error
    tinyloss.cross_entropy(x, y, label_smoothing="0.1")  # error
    tinyloss.cross_entropy(x, y, ignore_index=0.5)  # error
    tinyloss.cross_entropy(x, y, class_weights=y)  # error
    tinyloss.cross_entropy(x, y, axis=(0, 1))  # error
    tinyloss.nll(x, y, 1)  # error
    tinyloss.nll(x, y, label_smoothing=0.1)  # error
    tinyloss.softmax_focal(x, y, gamma="2")  # error
    tinyloss.softmax_focal(x, y, alpha=0.25)  # error
    tinyloss.binary_cross_entropy(x, y, eps="tiny")  # error
    tinyloss.binary_cross_entropy(x, y, from_logits=True)  # error
    tinyloss.binary_cross_entropy_with_logits(x, y, 2.0)  # error
    tinyloss.binary_cross_entropy_with_logits(x, y, class_weight=y)  # error
    tinyloss.sigmoid_focal(x, y, alpha="balanced", gamma=2.0, axis=-1)  # error
    tinyloss.sigmoid_focal(x, y, gamma=None)  # error
    tinyloss.hinge(x, y, margin=1.0)  # error
    tinyloss.hinge(x, y, denominator=object())  # error
    tinyloss.squared_hinge(x, y, squared=True)  # error
    tinyloss.squared_hinge(x, y, where=object())  # error
    tinyloss.soft_margin(x)  # error
    tinyloss.soft_margin(x, y, weight=object())  # error


def divergences(x: Floats, y: Floats) -> None:
    tinyloss.kl_div(x, y, log_target=y)  # error
    tinyloss.kl_div(x, y, reduction="batchmean")  # error
    tinyloss.kl_div_with_logits(x, y, log_target=True)  # error
    tinyloss.kl_div_with_logits(x, y, axis="rows")  # error
    tinyloss.js_div(x, y, base=2)  # error
    tinyloss.js_div(x, y, axis=None)  # error


def pieces(x: Floats) -> None:
    tinyloss.log_softmax(x, 1)  # error
    tinyloss.log_softmax(x, dim=1)  # error
    tinyloss.softmax(x, -1)  # error
    tinyloss.softmax([1.0, 2.0])  # error
    tinyloss.logsumexp(x, keepdims=True)  # error
    tinyloss.logsumexp(x, axis="rows")  # error
    tinyloss.log_sigmoid(x, axis=-1)  # error
    tinyloss.log_sigmoid()  # error
    tinyloss.softplus(x, x)  # error
    tinyloss.softplus("1")  # error


def derivatives(x: Floats, y: Floats) -> None:
    tinyloss.value_and_grad(tinyloss.mse)(x)  # error
    tinyloss.value_and_grad(tinyloss.mse)(x, y, reduction="avg")  # error
    tinyloss.value_and_grad(tinyloss.mse, argnums="x")  # error
    tinyloss.value_and_grad(tinyloss.softmax)  # error
    tinyloss.value_and_grad(tinyloss.mse, x, y)  # error
    tinyloss.grad(tinyloss.huber)(x, y, beta=1.0)  # error
    tinyloss.grad(tinyloss.huber, argnums=1.0)  # error
    tinyloss.grad("huber")  # error
    tinyloss.grad_and_hess(tinyloss.mse, hess="gauss")  # error
    tinyloss.grad_and_hess(tinyloss.mse, 1)  # error
    tinyloss.grad_and_hess(tinyloss.mse)(x)  # error
    tinyloss.grad_and_hess(np.square)  # error
    value, gradient, curvature = tinyloss.grad_and_hess(tinyloss.mse)(x, y)  # error
    tinyloss.value_and_grad(tinyloss.mse)(x, y, out=x)  # error
    tinyloss.source(np.square)  # error
    tinyloss.source(tinyloss.mse, target=1)  # error


def classes(x: Floats, y: Floats) -> None:
    tinyloss.MSELoss("sum")  # error
    tinyloss.MSELoss(reduction="avg")  # error
    tinyloss.MSELoss(x, y)  # error
    tinyloss.MeanSquaredError(squared=False)  # error
    tinyloss.MeanSquaredError(reduction=0)  # error
    tinyloss.MAELoss(weight=y)  # error
    tinyloss.MAELoss(reduction="Mean")  # error
    tinyloss.HuberLoss(1.0)  # error
    tinyloss.HuberLoss(delta="1")  # error
    tinyloss.SmoothL1Loss(delta=1.0)  # error
    tinyloss.SmoothL1Loss(beta=None)  # error
    tinyloss.LogCoshLoss(1.0)  # error
    tinyloss.LogCoshLoss(reduction=None)  # error
    tinyloss.QuantileLoss(quantile=0.9)  # error
    tinyloss.QuantileLoss(q=[0.1, 0.9])  # error
    tinyloss.MSLELoss(eps=1e-3)  # error
    tinyloss.MSLELoss(reduction=x)  # error
    tinyloss.MAPELoss(eps="1e-3")  # error
    tinyloss.MAPELoss(1e-3)  # error
    tinyloss.PoissonNLLLoss(False)  # error
    tinyloss.PoissonNLLLoss(log_input="no")  # error
    tinyloss.GaussianNLLLoss(var=x)  # error
    tinyloss.GaussianNLLLoss()(x, y)  # error
    tinyloss.CrossEntropyLoss(y)  # error
    tinyloss.CrossEntropyLoss(from_logits="no")  # error
    tinyloss.CrossEntropyLoss(label_smoothing="0.1")  # error
    tinyloss.CrossEntropyLoss(weight=y)  # error
    tinyloss.NLLLoss(ignore_index=0.5)  # error
    tinyloss.NLLLoss(label_smoothing=0.1)  # error
    tinyloss.BCELoss(from_logits=True)  # error
    tinyloss.BCELoss(eps="tiny")  # error
    tinyloss.BCEWithLogitsLoss(2.0)  # error
    tinyloss.BCEWithLogitsLoss(weight=y)  # error
    tinyloss.BinaryCrossEntropyLoss(True)  # error
    tinyloss.BinaryCrossEntropyLoss(from_logits="no")  # error
    tinyloss.SigmoidFocalLoss(gamma="2")  # error
    tinyloss.SigmoidFocalLoss(axis=-1)  # error
    tinyloss.SoftmaxFocalLoss(alpha=0.25)  # error
    tinyloss.SoftmaxFocalLoss(axis=0.5)  # error
    tinyloss.HingeLoss(margin=1.0)  # error
    tinyloss.HingeLoss("mean")  # error
    tinyloss.SquaredHingeLoss(squared=True)  # error
    tinyloss.SquaredHingeLoss(reduction="avg")  # error
    tinyloss.SoftMarginLoss(axis=-1)  # error
    tinyloss.SoftMarginLoss(reduction=1)  # error
    tinyloss.KLDivLoss(reduction="batchmean")  # error
    tinyloss.KLDivLoss(log_target="yes")  # error
    tinyloss.KLDivWithLogitsLoss(log_target=True)  # error
    tinyloss.KLDivWithLogitsLoss(axis=None)  # error
    tinyloss.JSDivLoss(base=2)  # error
    tinyloss.JSDivLoss(-1)  # error


def instances(x: Floats, y: Floats) -> None:
    loss = tinyloss.HuberLoss()
    loss(x)  # error
    loss(x, y, y)  # error
    loss(x, y, delta=1.0)  # error
    loss(x, y, reduction="sum")  # error
    loss([1.0], y)  # error
    loss.value_and_grad(x)  # error
    loss.grad(x, y, sample_weight=y)  # error
    loss.grad_and_hess(y=y)  # error
    loss.backward()  # error
    loss.delta = 2.0  # error
    loss + 1.0  # error
    "2" * loss  # error
    (2 * loss)(x)  # error
    tinyloss.WeightedSum(loss)  # error
    (loss + loss).value_and_grad(x)  # error


def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
    return tinyloss.namespace(x).sqrt((x - y) ** 2 + eps**2)


def own(x: Floats) -> None:
    tinyloss.loss("charbonnier")  # error
    tinyloss.loss(charbonnier, True)  # error
    tinyloss.loss(charbonnier, reduction="sum")  # error
    tinyloss.loss(rowwise="yes")(charbonnier)  # error
    tinyloss.namespace()  # error
    tinyloss.namespace(x, y)  # error
    tinyloss.validation("sometimes")  # error
    tinyloss.validation(True)  # error
    tinyloss.partial_mean(tinyloss.mse)(x)  # error
    tinyloss.partial_mean(charbonnier)  # error
    tinyloss.partial_mean(tinyloss.mse, "gradient")  # error
    tinyloss.PartialMean(1.0, 2.0, 3.0, 4.0)  # error
    tinyloss.nll(x, x, axis_name=0)  # error
