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
    tinyloss.huber(x, y, 1.0)  # error
    tinyloss.huber(x, y, delta="1")  # error
    tinyloss.huber(x, y, beta=1.0)  # error
    tinyloss.gaussian_nll(x, y)  # error
    tinyloss.gaussian_nll(x, y, x, 1e-6)  # error
    tinyloss.gaussian_nll(x, y, x, full=1e-6)  # error
    tinyloss.listmle(x, y, y)  # error
    tinyloss.unique_softmax(x, y, gain="log")  # error
    tinyloss.fenchel_young(x, y, activation="softmax")  # error
    tinyloss.sparsemax(x, y)  # error
    tinyloss.entmax15(x, axis="rows")  # error
    tinyloss.crps_ensemble(x, y, fair=1.5)  # error
    tinyloss.lovasz_hinge(x, y, from_logits="softmax")  # error
    tinyloss.lovasz_softmax(x, y, present="all")  # error
    tinyloss.cox_ph(x, y)  # error
    tinyloss.cox_ph(x, y, y, ties="exact")  # error


def classification(x: Floats, y: Floats) -> None:
    tinyloss.cross_entropy(x)  # error
    tinyloss.cross_entropy(x, y, from_logits="no")  # error
    tinyloss.poly_cross_entropy(x, y, from_logits="no")  # error
    tinyloss.cross_entropy(x, y, label_smoothing="0.1")  # error
    tinyloss.cross_entropy(x, y, ignore_index=0.5)  # error
    tinyloss.cross_entropy(x, y, class_weights=y)  # error
    tinyloss.hinge(x, y, ignore_index="none")  # error
    tinyloss.hinge(x, y, label_smoothing=0.1)  # error
    tinyloss.hinge(x, y, mask=y > 0)  # error
    tinyloss.corn(x, y, class_weight=y)  # error
    tinyloss.CrossEntropyLoss(mask=y > 0)  # error
    tinyloss.cross_entropy(x, y, axis=(0, 1))  # error


def divergences(x: Floats, y: Floats) -> None:
    tinyloss.kl_div(x, y, log_target=y)  # error
    tinyloss.kl_div(x, y, reduction="batchmean")  # error


def pieces(x: Floats) -> None:
    tinyloss.softmax(x, -1)  # error
    tinyloss.softmax([1.0, 2.0])  # error


def pairs(a: Floats, b: Floats, y: Floats) -> None:
    tinyloss.margin_ranking(a, b)  # error
    tinyloss.pairwise_distance(a, b, p="2")  # error
    tinyloss.triplet_margin(a, b, margin=1.0)  # error
    tinyloss.cosine_similarity(a, b, y)  # error
    tinyloss.cosine_embedding(a, b, y, margin="0")  # error
    tinyloss.contrastive(a, b, y, squared=2)  # error
    tinyloss.ContrastiveLoss()(a, b)  # error
    tinyloss.MarginRankingLoss(margin="0")  # error
    tinyloss.PairwiseDistanceLoss()(a)  # error
    tinyloss.TripletMarginLoss()(a, b)  # error
    tinyloss.CosineSimilarityLoss(margin=1.0)  # error
    tinyloss.CosineEmbeddingLoss()(a, b)  # error


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
    tinyloss.hvp(np.square)  # error
    tinyloss.constant_minimizer(tinyloss.mse)  # error
    tinyloss.traits(np.square)  # error
    tinyloss.traits(tinyloss.mse).convexity  # error
    tinyloss.Traits(convex="yes")  # error
    tinyloss.source(np.square)  # error
    tinyloss.source(tinyloss.mse, target=1)  # error


def classes(x: Floats, y: Floats) -> None:
    tinyloss.MSELoss("sum")  # error
    tinyloss.MSELoss(reduction="avg")  # error
    tinyloss.MSELoss(x, y)  # error
    tinyloss.HuberLoss(1.0)  # error
    tinyloss.HuberLoss(delta="1")  # error
    tinyloss.GaussianNLLLoss(var=x)  # error
    tinyloss.GaussianNLLLoss()(x, y)  # error
    tinyloss.CrossEntropyLoss(y)  # error
    tinyloss.CrossEntropyLoss(from_logits="no")  # error
    tinyloss.CrossEntropyLoss(label_smoothing="0.1")  # error
    tinyloss.CrossEntropyLoss(weight=y)  # error
    tinyloss.BinaryCrossEntropyLoss(True)  # error
    tinyloss.BinaryCrossEntropyLoss(from_logits="no")  # error
    tinyloss.KLDivLoss(reduction="batchmean")  # error
    tinyloss.KLDivLoss(log_target="yes")  # error


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
    tinyloss.over(tinyloss.mse, 0)(x)  # error
    tinyloss.over(tinyloss.mse, "rows")  # error
    tinyloss.over(tinyloss.mse)  # error
    tinyloss.by_segment(tinyloss.listmle)  # error
    tinyloss.by_segment(tinyloss.listmle, y)(x)  # error
    tinyloss.sort_by()  # error
    tinyloss.cumulative_log_sum_exp(x, y)  # error
    tinyloss.clear_caches(tinyloss.mse)  # error
    tinyloss.partial_mean(charbonnier)  # error
    tinyloss.partial_mean(tinyloss.mse, "gradient")  # error
    tinyloss.PartialMean(1.0, 2.0, 3.0, 4.0)  # error


def products(h: Floats, w: Floats) -> None:
    tinyloss.linear_cross_entropy(h, w)  # error
    tinyloss.linear_cross_entropy(h, w, h, axis=0)  # error
    tinyloss.linear_cross_entropy(h, w, h, class_axis=2)  # error
    tinyloss.linear_logprobs(h, w, h, reduction="sum")  # error
    tinyloss.linear_entropy(h, w, h)  # error
    tinyloss.sequence_logprob(h, h, reduction="none")  # error
    tinyloss.info_nce(h, w, temperature="0.1")  # error
    tinyloss.siglip(h, w, scale=None)  # error
    tinyloss.nt_xent(h)  # error
    tinyloss.ctc(h)  # error
    tinyloss.ctc(h, w, infeasible="zero")  # error
    tinyloss.CTCLoss(blank=None)  # error
    tinyloss.supcon(h, h, h, h, h)  # error
    tinyloss.n_pairs(h, w, normalize=True)  # error
    tinyloss.multi_similarity(h, h, base="0.5")  # error
    tinyloss.circle(h, h, gamma=None)  # error
    tinyloss.barlow_twins(h)  # error
    tinyloss.vicreg(h, w, weight=h)  # error
    tinyloss.cosface(h, w)  # error
    tinyloss.arcface(h, w, h, radians=0.5)  # error
    tinyloss.of_products()  # error
    tinyloss.memory()  # error
    tinyloss.Memory(1)  # error
    tinyloss.LossScaler(factor=2.0)  # error
