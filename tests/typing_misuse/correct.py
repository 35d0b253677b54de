"""A user's program that calls what there is as it is meant: no checker may object."""

from typing import Any

import numpy as np
import numpy.typing as npt

import tinyloss

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def regression(x: Floats, y: Floats, mask: npt.NDArray[np.bool_]) -> float:
    losses: list[Any] = [
        tinyloss.mse(x, y),
        tinyloss.mse(x, y, weight=y, where=mask, reduction="none"),
        tinyloss.mse(x, [1.0, 2.0], weight=[1, 2], denominator=8),
        tinyloss.huber(x, y, delta=0.5),
        tinyloss.huber(x, y, delta=np.asarray(0.5)),
        tinyloss.quantile(x, y, q=[0.1, 0.5, 0.9]),
        tinyloss.QuantileLoss(q=x)(x, y),
        tinyloss.gaussian_nll(x, y, x, full=True),
        tinyloss.gaussian_nll(x, y, var=1.0, eps=1e-6, reduction="sum"),
        tinyloss.lovasz_hinge(x, y, mask=mask, axis=(0, 1)),
        tinyloss.lovasz_softmax(x, y, from_logits="softmax", present=False),
        tinyloss.crps_ensemble(x, y, fair=True, axis=0),
        tinyloss.fenchel_young(x, y, activation="entmax15", class_weight=[1.0, 2.0]),
        tinyloss.listmle(x, y, mask=mask, weight=2.0),
        tinyloss.unique_softmax(x, y, gain="linear", member_weight=y),
        tinyloss.lambdarank(x, y, top=10, discount="reciprocal"),
        tinyloss.lambdaloss(x, y, kind="ndcg2", mask=mask, axis=0),
        tinyloss.approx_ndcg(x, y, temperature=0.1, gain="linear"),
        tinyloss.cox_ph(x, y, mask, ties="breslow", segments=y, axis=0),
    ]
    return float(sum(losses))


def classification(x: Floats, labels: Ints, y: Floats) -> list[Any]:
    return [
        tinyloss.cross_entropy(x, labels),
        tinyloss.cross_entropy(x, y, from_logits=False),
        tinyloss.cross_entropy(x, y, axis=1, class_weight=[1.0, 2.0], label_smoothing=0.1),
        tinyloss.cross_entropy(x, labels, ignore_index=-100, denominator=32),
        tinyloss.sigmoid_focal(x, labels, alpha=[0.25, 0.5], label_smoothing=0.1, ignore_index=-1),
        tinyloss.SigmoidFocalLoss(alpha=x, ignore_index=-1)(x, labels),
        tinyloss.softmax_focal(x, labels, label_smoothing=np.asarray(0.1)),
        tinyloss.softmax_focal(x, y, from_logits=False, gamma=0.5),
        tinyloss.GeneralizedCrossEntropyLoss(from_logits=False)(x, labels),
        tinyloss.hinge(x, labels, ignore_index=0),
        tinyloss.cross_entropy(x, labels, mask=y > 0),
        tinyloss.fenchel_young(x, labels, mask=y > 0, class_weight=y),
        tinyloss.FenchelYoungLoss(activation="entmax15")(x, labels, mask=y > 0),
        tinyloss.linear_cross_entropy(x, y, labels, mask=y > 0),
        tinyloss.linear_logprobs(x, y, labels, mask=[True, False]),
        tinyloss.LinearCrossEntropyLoss().value_and_grad(x, y, labels, mask=y > 0),
        tinyloss.corn(x, labels, weight=y),
        tinyloss.CORNLoss(reduction="sum")(x, labels),
        tinyloss.BrierLoss().value_and_grad(x, labels, mask=y > 0, weight=y),
    ]


def divergences(x: Floats, y: Floats) -> list[Any]:
    return [
        tinyloss.kl_div(x, y, axis=-1, log_target=True),
        tinyloss.relative_entropy(x, y, log_target=True, where=x > y),
        tinyloss.RelativeEntropyLoss(log_target=True)(x, y),
    ]


def pieces(x: Floats) -> list[Any]:
    return [tinyloss.softmax(x, axis=0), tinyloss.sparsemax(x, axis=0), tinyloss.entmax15(x)]


def derivatives(x: Floats, y: Floats, labels: Ints) -> None:
    value, gradient = tinyloss.value_and_grad(tinyloss.mse)(x, y)
    value, (by_x, by_y) = tinyloss.value_and_grad(tinyloss.mse, argnums=(0, 1))(x, y, weight=y)
    by_var = tinyloss.grad(tinyloss.gaussian_nll, argnums=2)(x, y, x, eps=1e-3)
    by_x = tinyloss.grad(tinyloss.CrossEntropyLoss())(x, labels, where=labels > 0)
    gradient, curvature = tinyloss.grad_and_hess(tinyloss.mse, hess="boosting")(x, y)
    gradient, curvature = tinyloss.grad_and_hess(tinyloss.cross_entropy)(x, labels, axis=-1)
    loss, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy, out=x)(x, labels)
    print(tinyloss.hvp(tinyloss.mse)(x, y, x, weight=y))
    print(tinyloss.constant_minimizer(tinyloss.cross_entropy, labels, y, classes=3))
    known: tinyloss.Traits = tinyloss.traits(tinyloss.huber, delta=2.0)
    every = [tinyloss.traits(each) for each in (tinyloss.HuberLoss, tinyloss.MSELoss() * 2)]
    print(known.convex, known.bounded, every)
    both = tinyloss.grad(tinyloss.mse, (0, 1), out=(x, x.copy()))(x, x)
    text: str = tinyloss.source(tinyloss.mse, x, x, target="llvm", reduction="sum")
    print(loss, both, text, tinyloss.source(tinyloss.CrossEntropyLoss()))
    print(value, gradient, by_x, by_y, by_var, curvature)


def classes(x: Floats, y: Floats, labels: Ints) -> None:
    losses = [
        tinyloss.MSELoss(),
        tinyloss.MSELoss(reduction="sum"),
        tinyloss.HuberLoss(delta=0.5),
        tinyloss.CrossEntropyLoss(from_logits=False),
        tinyloss.CrossEntropyLoss(label_smoothing=0.1, axis=1, ignore_index=-100),
        tinyloss.BinaryCrossEntropyLoss(),
        tinyloss.BinaryCrossEntropyLoss(from_logits=False),
        tinyloss.KLDivLoss(log_target=True),
    ]
    for loss in losses:
        print(loss(x, y), loss(x, y, weight=y, where=y > 0, denominator=4))
        print(loss.value_and_grad(x, y), loss.grad(x, y), loss.grad_and_hess(x, y))
    print(tinyloss.GaussianNLLLoss(full=True)(x, y, x, weight=y))
    print(tinyloss.GaussianNLLLoss().value_and_grad(x, y, var=x))
    both: tinyloss.WeightedSum = 0.7 * tinyloss.CrossEntropyLoss() + tinyloss.MSELoss() * 2
    value, gradient = both.value_and_grad(x, y)
    print(both(x, y, weight=y), value, gradient, tinyloss.grad(both)(x, y))
    print(sum([tinyloss.MSELoss(), tinyloss.MSELoss(reduction="sum")]), sum([both, both]))


@tinyloss.loss
def charbonnier(x: Any, y: Any, *, eps: float = 1e-3) -> Any:
    xp = tinyloss.namespace(x)
    return xp.sqrt((x - y) ** 2 + eps**2)


@tinyloss.loss(rowwise=True)
def spread(x: Any, y: Any) -> Any:
    return tinyloss.namespace(x).sum((x - y) ** 2, axis=-1)


def own(x: Floats, y: Floats, labels: Ints) -> None:
    print(charbonnier(x, y), charbonnier(x, y, eps=1e-2, weight=y, reduction="sum"))
    print(spread(x, y, axis=0), tinyloss.grad_and_hess(charbonnier)(x, y))
    value, gradient = tinyloss.value_and_grad(charbonnier)(x, y, eps=1e-2)
    print(value, gradient, tinyloss.namespace(x).sum(x))
    state = tinyloss.PartialMean()
    state += tinyloss.partial_mean(tinyloss.cross_entropy)(x, labels, weight=y)
    print(tinyloss.over(tinyloss.mse, 0)(x, y, weight=y))
    print(tinyloss.grad(tinyloss.by_segment(tinyloss.listmle, labels))(x, y, reduction="sum"))
    (ordered,) = tinyloss.sort_by(y, x)
    print(ordered, tinyloss.cumulative_log_sum_exp(x))
    print(tinyloss.value_and_grad(tinyloss.over(tinyloss.HuberLoss(), (0, 1)))(x, y))
    tinyloss.clear_caches()
    parts = [tinyloss.partial_mean(tinyloss.MSELoss(), lambda g: g, widen=False)(x, y), state]
    total: tinyloss.PartialMean = sum(parts, tinyloss.PartialMean())
    print(
        total.value(),
        total.grad(),
        total.weight,
        tinyloss.cross_entropy(x, labels, axis_name="model"),
    )
    with tinyloss.validation("never"):
        print(tinyloss.cross_entropy(x, labels))
    with tinyloss.validation("always"), tinyloss.validation("auto"):
        print(tinyloss.cross_entropy(x, labels))


def products(h: Floats, w: Floats, labels: Ints) -> None:
    print(tinyloss.linear_cross_entropy(h, w, labels, bias=w[:, 0], z_loss=1e-4, reduction="sum"))
    both = tinyloss.value_and_grad(tinyloss.linear_cross_entropy, (0, 1))
    value, (by_h, by_w) = both(h, w, labels, max_memory=2**20, where=labels > 0)
    print(value, by_h, by_w, tinyloss.linear_logprobs(h, w, labels, class_axis=1))
    print(tinyloss.linear_entropy(h, w, temperature=0.7))
    print(tinyloss.sequence_logprob(h, labels, where=labels > 0, reduction="mean"))
    print(tinyloss.of_products(tinyloss.mse)(h, w, h, scale=2.0))
    takes: tinyloss.Memory = tinyloss.memory(both, h, w, labels)
    print(takes.total, tinyloss.info_nce(h, w, temperature=0.1), tinyloss.siglip(h, w, bias=-1.0))
    print(tinyloss.arcface(h, w, labels, margin=0.3), tinyloss.cosface(h, w, labels, scale=30.0))
    print(tinyloss.nt_xent(h, labels), tinyloss.supcon(h, labels, w, labels, temperature=0.2))
    print(tinyloss.n_pairs(h, w, labels), tinyloss.multi_similarity(h, [0, 1], base=1, alpha=3))
    print(tinyloss.circle(h, labels, mask=h > w), tinyloss.barlow_twins(h, w, redundancy=0.01))
    print(tinyloss.ctc(h, labels, blank=-1, logit_lengths=[3], per_label=True, weight=w))
    print(tinyloss.CTCLoss(time_axis=0)(h, labels, label_mask=h > w))
    print(tinyloss.vicreg(h, w, variance=15.0), tinyloss.NPairsLoss()(h, w))
    print(tinyloss.SupConLoss(temperature=0.2).value_and_grad(h, labels))


def pairs(a: Floats, b: Floats, y: Ints) -> None:
    print(tinyloss.margin_ranking(a, b, y, margin=0.5), tinyloss.MarginRankingLoss()(a, b, y))
    print(tinyloss.pairwise_distance(a, b, p=1, axis=0), tinyloss.PairwiseDistanceLoss(p=3)(a, b))
    print(tinyloss.triplet_margin(a, b, b, swap=True), tinyloss.TripletMarginLoss()(a, b, b))
    value, (by_a, by_b) = tinyloss.value_and_grad(tinyloss.cosine_similarity, (0, 1))(a, b)
    print(value, by_a, by_b, tinyloss.CosineSimilarityLoss(reduction="none")(a, b, weight=y))
    print(tinyloss.cosine_embedding(a, b, y, margin=0.5, weight=y))
    print(tinyloss.contrastive(a, b, y, squared=False), tinyloss.ContrastiveLoss(p=1)(a, b, y))
    print(tinyloss.CosineEmbeddingLoss(margin=0.5).value_and_grad(a, b, y))


def scaled(x: Floats, y: Floats) -> None:
    scaler = tinyloss.LossScaler(scale=2.0**10)
    value, gradient = scaler.value_and_grad(tinyloss.mse)(x, y, weight=y)
    print(value, scaler.unscaled(gradient), scaler.updated(scaler.finite(gradient)).to_dict())
