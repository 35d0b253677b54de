"""Losses configured once: each class is a function and its parameters, with the same defaults."""

from typing import Any, Unpack

from tinyloss import _check
from tinyloss._objects import (
    AnswersLoss,
    BinaryLoss,
    Configured,
    ForecastLoss,
    LabelledPairLoss,
    LabelLoss,
    ListLoss,
    MarginLoss,
    MatchedPairLoss,
    OverlapLoss,
    PairwiseLoss,
    RankLoss,
    RegionLoss,
    RowLoss,
    SignedVectorsLoss,
    TargetLoss,
    VectorsLoss,
    ViewsLoss,
    asked,
    called,
)
from tinyloss.losses import (
    binary,
    contrastive,
    decorrelation,
    divergence,
    ensembles,
    lists,
    metric,
    multiclass,
    pairs,
    preference,
    products,
    ranking,
    regression,
    scores,
    segmentation,
    sequence,
    sparse,
    survival,
)
from tinyloss.typing import (
    Array,
    ArrayLike,
    AxisName,
    CallOptions,
    CPOKind,
    DiscountName,
    DPOKind,
    GainName,
    Infeasible,
    LambdaKind,
    Reduction,
    SparseMax,
    Ties,
)

__all__ = [
    "ApproxNDCGLoss",
    "ArcFaceLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BarlowTwinsLoss",
    "BarronLoss",
    "BinaryCrossEntropyLoss",
    "BrierLoss",
    "CORALLoss",
    "CORNLoss",
    "CPOLoss",
    "CRPSEnsembleLoss",
    "CRPSLoss",
    "CTCLoss",
    "CategoricalHingeLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarityLoss",
    "CoxPHLoss",
    "CrossEntropyLoss",
    "DPOLoss",
    "DiceLoss",
    "EpsilonInsensitiveLoss",
    "ExpectileLoss",
    "ExponentialLoss",
    "FenchelYoungLoss",
    "FocalTverskyLoss",
    "GammaDevianceLoss",
    "GaussianKLLoss",
    "GaussianNLLLoss",
    "GeneralizedCrossEntropyLoss",
    "GeneralizedDiceLoss",
    "GeneralizedKLLoss",
    "HingeLoss",
    "HuberLoss",
    "InfoNCELoss",
    "JSDivLoss",
    "JaccardLoss",
    "KLDivLoss",
    "KLDivWithLogitsLoss",
    "KTOLoss",
    "LambdaLoss",
    "LambdaRankLoss",
    "LinearCrossEntropyLoss",
    "ListMLELoss",
    "LogCoshLoss",
    "LogScoreLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MAELoss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "MarginRankingLoss",
    "MeanSquaredError",
    "ModifiedHuberLoss",
    "MultiMarginLoss",
    "MultiSimilarityLoss",
    "MultilabelMarginLoss",
    "MultilabelSoftMarginLoss",
    "NLLLoss",
    "NPairsLoss",
    "NTXentLoss",
    "ORPOLoss",
    "PairwiseDistanceLoss",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseMSELoss",
    "PairwiseSoftZeroOneLoss",
    "PerceptronLoss",
    "PoissonNLLLoss",
    "PolyCrossEntropyLoss",
    "QuantileLoss",
    "RelativeEntropyLoss",
    "SMAPELoss",
    "SigLIPLoss",
    "SigmoidFocalLoss",
    "SimPOLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftmaxFocalLoss",
    "SquaredEpsilonInsensitiveLoss",
    "SquaredHingeLoss",
    "SupConLoss",
    "TripletMarginLoss",
    "TverskyLoss",
    "TweedieDevianceLoss",
    "UniqueSoftmaxLoss",
    "VICRegLoss",
    "WingLoss",
]


class MSELoss(TargetLoss):
    function = regression.mse


class MeanSquaredError(MSELoss):
    function = regression.mse


class MAELoss(TargetLoss):
    function = regression.mae


class HuberLoss(TargetLoss):
    function = regression.huber
    delta: float = 1.0


class SmoothL1Loss(TargetLoss):
    function = regression.smooth_l1
    beta: float = 1.0


class LogCoshLoss(TargetLoss):
    function = regression.log_cosh


class BarronLoss(TargetLoss):
    function = regression.barron
    alpha: float = 1.0
    scale: float = 1.0


class QuantileLoss(TargetLoss):
    function = regression.quantile
    q: ArrayLike = 0.5


class ExpectileLoss(TargetLoss):
    function = regression.expectile
    tau: float = 0.5


class EpsilonInsensitiveLoss(TargetLoss):
    function = regression.epsilon_insensitive
    epsilon: float = 0.1


class SquaredEpsilonInsensitiveLoss(TargetLoss):
    function = regression.squared_epsilon_insensitive
    epsilon: float = 0.1


class WingLoss(TargetLoss):
    function = regression.wing
    epsilon: float = 2.0
    width: float = 10.0


class MSLELoss(TargetLoss):
    function = regression.msle


class MAPELoss(TargetLoss):
    function = regression.mape
    eps: float = 2.220446049250313e-16


class SMAPELoss(TargetLoss):
    function = regression.smape


class PoissonNLLLoss(TargetLoss):
    function = regression.poisson_nll
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8


class GammaDevianceLoss(TargetLoss):
    function = regression.gamma_deviance
    log_input: bool = True


class TweedieDevianceLoss(TargetLoss):
    function = regression.tweedie_deviance
    log_input: bool = True
    power: float = 1.5


class CrossEntropyLoss(LabelLoss):
    function = multiclass.cross_entropy
    from_logits: bool = True
    label_smoothing: float = 0.0
    softcap: float | None = None
    temperature: float = 1.0
    z_loss: float = 0.0


class NLLLoss(LabelLoss):
    function = multiclass.nll


class BCELoss(BinaryLoss):
    function = binary.binary_cross_entropy
    eps: float | None = None
    label_smoothing: float = 0.0


class BCEWithLogitsLoss(BinaryLoss):
    function = binary.binary_cross_entropy_with_logits
    label_smoothing: float = 0.0
    pos_weight: ArrayLike | None = None


class BinaryCrossEntropyLoss(BinaryLoss):
    """Binary cross-entropy of logits, or of probabilities with from_logits=False.

    `tinyloss.binary_cross_entropy_with_logits` or `tinyloss.binary_cross_entropy`.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.BinaryCrossEntropyLoss(from_logits=False)
    BinaryCrossEntropyLoss(from_logits=False)
    """

    from_logits: bool = True
    label_smoothing: float = 0.0

    def configure(self, parameters: dict[str, Any]) -> None:
        """Choose the function, and set its parameters."""
        name = type(self).__name__
        logits = _check.flag(name, "from_logits", parameters.pop("from_logits"))
        function = (
            binary.binary_cross_entropy_with_logits if logits else binary.binary_cross_entropy
        )
        object.__setattr__(self, "function", function)
        super().configure(parameters)


class SigmoidFocalLoss(BinaryLoss):
    function = binary.sigmoid_focal
    alpha: ArrayLike | None = None
    gamma: float = 2.0
    label_smoothing: float = 0.0


class SoftmaxFocalLoss(LabelLoss):
    function = multiclass.softmax_focal
    from_logits: bool = True
    gamma: float = 2.0
    label_smoothing: float = 0.0


class PolyCrossEntropyLoss(LabelLoss):
    function = multiclass.poly_cross_entropy
    epsilon: float = 2.0
    from_logits: bool = True


class GeneralizedCrossEntropyLoss(LabelLoss):
    function = multiclass.generalized_cross_entropy
    from_logits: bool = True
    q: float = 0.7


class BrierLoss(LabelLoss):
    function = multiclass.brier
    from_logits: bool = True


class CategoricalHingeLoss(LabelLoss):
    function = multiclass.categorical_hinge


class MultiMarginLoss(LabelLoss):
    function = multiclass.multi_margin
    margin: float = 1.0
    p: int = 1


class MultilabelMarginLoss(TargetLoss):
    function = multiclass.multilabel_margin
    axis: int = -1
    margin: float = 1.0


class MultilabelSoftMarginLoss(RowLoss):
    function = multiclass.multilabel_soft_margin


class CORALLoss(RowLoss):
    function = multiclass.coral


class CORNLoss(RowLoss):
    function = multiclass.corn


class HingeLoss(BinaryLoss):
    function = binary.hinge


class SquaredHingeLoss(BinaryLoss):
    function = binary.squared_hinge


class SoftMarginLoss(BinaryLoss):
    function = binary.soft_margin


class ModifiedHuberLoss(BinaryLoss):
    function = binary.modified_huber


class ExponentialLoss(BinaryLoss):
    function = binary.exponential


class PerceptronLoss(BinaryLoss):
    function = binary.perceptron


class KLDivLoss(RowLoss):
    function = divergence.kl_div
    log_target: bool = False


class KLDivWithLogitsLoss(RowLoss):
    function = divergence.kl_div_with_logits
    temperature: float = 1.0


class RelativeEntropyLoss(TargetLoss):
    function = divergence.relative_entropy
    log_target: bool = False


class GeneralizedKLLoss(TargetLoss):
    function = divergence.generalized_kl


class GaussianKLLoss(Configured):
    function = divergence.gaussian_kl
    reduction: Reduction = "mean"

    @called
    def __call__(
        self,
        x: Array,
        y: ArrayLike | None = None,
        log_var: ArrayLike | None = None,
        y_log_var: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class JSDivLoss(RowLoss):
    function = divergence.js_div


class DiceLoss(OverlapLoss):
    function = segmentation.dice
    squared: bool = False


class JaccardLoss(OverlapLoss):
    function = segmentation.jaccard


class TverskyLoss(OverlapLoss):
    function = segmentation.tversky
    fp_weight: float = 0.5
    fn_weight: float = 0.5


class FocalTverskyLoss(OverlapLoss):
    function = segmentation.focal_tversky
    fp_weight: float = 0.3
    fn_weight: float = 0.7
    gamma: float = 4 / 3


class GeneralizedDiceLoss(OverlapLoss):
    function = segmentation.generalized_dice


class LovaszHingeLoss(ListLoss):
    function = segmentation.lovasz_hinge
    several_axes = True
    axis: int | tuple[int, ...] = -1


class LovaszSoftmaxLoss(RegionLoss):
    function = segmentation.lovasz_softmax
    present: bool = True


class CRPSEnsembleLoss(TargetLoss):
    function = ensembles.crps_ensemble
    axis: int = -1
    fair: bool = False


class FenchelYoungLoss(ListLoss):
    function = sparse.fenchel_young
    activation: SparseMax = "sparsemax"
    axis: int = -1
    class_weight: ArrayLike | None = None
    ignore_index: int | None = None


class ListMLELoss(ListLoss):
    function = lists.listmle
    axis: int = -1


class CoxPHLoss(Configured):
    function = survival.cox_ph
    axis: int = -1
    reduction: Reduction = "mean"
    ties: Ties = "efron"

    @called
    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        event: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        segments: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class CTCLoss(Configured):
    function = sequence.ctc
    blank: int = 0
    infeasible: Infeasible = "inf"
    per_label: bool = False
    reduction: Reduction = "mean"
    time_axis: int = -2

    @called
    def __call__(
        self,
        x: Array,
        y: ArrayLike,
        *,
        label_lengths: ArrayLike | None = None,
        label_mask: ArrayLike | None = None,
        logit_lengths: ArrayLike | None = None,
        logit_mask: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class GaussianNLLLoss(Configured):
    function = regression.gaussian_nll
    full: bool = False
    eps: float = 1e-6
    log_var: bool = False
    reduction: Reduction = "mean"

    @called
    def __call__(
        self, x: Array, y: ArrayLike, var: ArrayLike, **options: Unpack[CallOptions]
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class CRPSLoss(ForecastLoss):
    function = scores.crps


class LogScoreLoss(ForecastLoss):
    function = scores.log_score


class MarginRankingLoss(RankLoss):
    function = pairs.margin_ranking
    margin: float = 0.0


class ContrastiveLoss(SignedVectorsLoss):
    function = pairs.contrastive
    margin: float = 1.0
    p: float = 2.0
    squared: bool = True


class PairwiseDistanceLoss(VectorsLoss):
    function = pairs.pairwise_distance
    p: float = 2.0


class CosineSimilarityLoss(VectorsLoss):
    function = pairs.cosine_similarity


class CosineEmbeddingLoss(SignedVectorsLoss):
    function = pairs.cosine_embedding
    margin: float = 0.0


class TripletMarginLoss(Configured):
    function = pairs.triplet_margin
    axis: int = -1
    axis_name: AxisName | None = None
    margin: float = 1.0
    p: float = 2.0
    reduction: Reduction = "mean"
    swap: bool = False

    @called
    def __call__(
        self,
        anchor: Array,
        positive: ArrayLike,
        negative: ArrayLike,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class DPOLoss(Configured):
    function = preference.dpo
    beta: float = 0.1
    kind: DPOKind = "sigmoid"
    label_smoothing: float = 0.0
    reduction: Reduction = "mean"

    @called
    def __call__(
        self,
        chosen: Array,
        rejected: ArrayLike,
        ref_chosen: ArrayLike,
        ref_rejected: ArrayLike,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class CPOLoss(AnswersLoss):
    function = preference.cpo
    alpha: float = 1.0
    kind: CPOKind = "sigmoid"
    label_smoothing: float = 0.0


class SimPOLoss(AnswersLoss):
    function = preference.simpo
    beta: float = 2.0
    gamma: float = 0.5
    label_smoothing: float = 0.0


class ORPOLoss(AnswersLoss):
    function = preference.orpo
    alpha: float = 1.0


class KTOLoss(Configured):
    function = preference.kto
    beta: float = 0.1
    desirable_weight: float = 1.0
    kl: float = 0.0
    reduction: Reduction = "mean"
    undesirable_weight: float = 1.0

    @called
    def __call__(
        self,
        logp: Array,
        desirable: ArrayLike,
        ref_logp: ArrayLike,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class LinearCrossEntropyLoss(Configured):
    function = products.linear_cross_entropy
    axis_name: AxisName | None = None
    class_axis: int = 0
    class_weight: ArrayLike | None = None
    ignore_index: int | None = None
    label_smoothing: float = 0.0
    max_memory: int | None = None
    reduction: Reduction = "mean"
    softcap: float | None = None
    temperature: float = 1.0
    z_loss: float = 0.0

    @called
    def __call__(
        self,
        h: Array,
        w: Array,
        y: ArrayLike,
        *,
        bias: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class InfoNCELoss(MatchedPairLoss):
    function = contrastive.info_nce
    label_smoothing: float = 0.0
    symmetric: bool | None = None
    temperature: float = 0.07


class SigLIPLoss(MatchedPairLoss):
    function = contrastive.siglip
    bias: float = -10.0
    scale: float = 10.0


class CosFaceLoss(MarginLoss):
    function = contrastive.cosface
    margin: float = 0.35
    scale: float = 64.0


class ArcFaceLoss(MarginLoss):
    function = contrastive.arcface
    margin: float = 0.5
    scale: float = 64.0


class PairwiseLogisticLoss(PairwiseLoss):
    function = ranking.pairwise_logistic


class PairwiseHingeLoss(PairwiseLoss):
    function = ranking.pairwise_hinge
    margin: float = 1.0


class PairwiseSoftZeroOneLoss(PairwiseLoss):
    function = ranking.pairwise_soft_zero_one


class PairwiseMSELoss(ListLoss):
    function = ranking.pairwise_mse
    axis: int = -1


class LambdaRankLoss(PairwiseLoss):
    function = ranking.lambdarank
    gain: GainName = "exponential"
    discount: DiscountName = "log2"
    top: float | None = None


class LambdaLoss(PairwiseLoss):
    function = ranking.lambdaloss
    kind: LambdaKind = "ndcg2++"
    mu: float = 10.0
    gain: GainName = "exponential"
    discount: DiscountName = "log2"
    top: float | None = None


class UniqueSoftmaxLoss(PairwiseLoss):
    function = lists.unique_softmax
    gain: GainName = "exponential"


class ApproxNDCGLoss(PairwiseLoss):
    function = ranking.approx_ndcg
    temperature: float = 1.0
    gain: GainName = "exponential"
    discount: DiscountName = "log2"


class NTXentLoss(LabelledPairLoss):
    function = metric.nt_xent
    temperature: float = 0.07


class SupConLoss(LabelledPairLoss):
    function = metric.supcon
    temperature: float = 0.1


class MultiSimilarityLoss(LabelledPairLoss):
    function = metric.multi_similarity
    alpha: float = 2.0
    base: float = 0.5
    beta: float = 50.0


class CircleLoss(LabelledPairLoss):
    function = metric.circle
    gamma: float = 80.0
    margin: float = 0.4


class NPairsLoss(Configured):
    function = metric.n_pairs
    max_memory: int | None = None
    reduction: Reduction = "mean"
    similarities: bool = False

    @called
    def __call__(
        self,
        a: Array,
        b: Array | None = None,
        labels: ArrayLike | None = None,
        labels_b: ArrayLike | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Return the loss."""

    ask = asked(__call__)


class BarlowTwinsLoss(ViewsLoss):
    function = decorrelation.barlow_twins
    redundancy: float = 0.005


class VICRegLoss(ViewsLoss):
    function = decorrelation.vicreg
    covariance: float = 1.0
    eps: float = 1e-4
    invariance: float = 25.0
    variance: float = 25.0
