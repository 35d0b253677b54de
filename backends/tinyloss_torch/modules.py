"""Losses as modules of torch: weights of classes are buffers, which move and are saved with it."""

from dataclasses import fields
from typing import Any, ClassVar

import torch

import tinyloss

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
    "LossModule",
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

_WEIGHTS = ("class_weight", "pos_weight")
"""Parameters that are buffers even where they are one number, or none."""


class LossModule(torch.nn.Module):
    """A loss of tinyloss as a module, made with the parameters of its class there.

    It is called with the arrays and weight, where and denominator, as the loss is. `class_weight`,
    `pos_weight` and other parameters that are arrays are buffers: they move by `.to()`, and
    `state_dict` holds them. A loss object, or a sum of them, is made a module by
    `LossModule(loss)`.

    Examples
    --------
    >>> import tinyloss, tinyloss.torch, torch
    >>> criterion = tinyloss.torch.CrossEntropyLoss(class_weight=[1.0, 2.0], label_smoothing=0.1)
    >>> criterion
    CrossEntropyLoss(label_smoothing=0.1, class_weight=<2 numbers>)
    >>> round(criterion(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
    0.6758
    >>> tinyloss.torch.LossModule(0.5 * tinyloss.MSELoss() + 0.5 * tinyloss.MAELoss())
    LossModule(0.5 * MSELoss() + 0.5 * MAELoss())
    """

    of: ClassVar[Any] = None
    """The class of tinyloss."""
    loss: Any
    """The loss object, without what is a buffer here."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = f"`tinyloss.{cls.__name__}` as a module of torch."

    def __init__(self, loss: Any = None, /, **parameters: Any) -> None:
        super().__init__()
        if self.of is not None:
            if loss is not None:
                raise TypeError(
                    f"tinyloss.torch.{type(self).__name__}: takes parameters by their names, got "
                    f"{type(loss).__name__} by position"
                )
            whole = self.of(**parameters)  # which checks them
            several = [name for name, each in parameters.items() if _is_several(each)]
            names = [*[name for name in _WEIGHTS if hasattr(whole, name)], *several]
            arrays = {name: parameters.get(name) for name in names}
            loss = self.of(**{n: each for n, each in parameters.items() if n not in arrays})
            for name, value in arrays.items():
                self.register_buffer(name, _tensor(value))
        elif not hasattr(loss, "ask") or isinstance(loss, type) or parameters:
            raise TypeError(
                f"tinyloss.torch.LossModule: got {loss!r}, expected a loss object such as "
                "tinyloss.MSELoss()"
            )
        self.loss = loss

    def forward(self, x: Any, y: Any = None, *more: Any, **options: Any) -> Any:
        """Return the loss."""
        arrays = (x, *(() if y is None and not more else (y,)), *more)
        buffers = {name: each for name, each in self._buffers.items() if each is not None}
        if not buffers:
            return self.loss(*arrays, **options)
        own = {each.name: getattr(self.loss, each.name) for each in fields(self.loss)}
        return self.of.function(*arrays, **options, **{**own, **buffers})

    def extra_repr(self) -> str:
        """Return the parameters."""
        if self.of is None:
            return repr(self.loss)
        own = repr(self.loss).partition("(")[2].removesuffix(")")
        shown = [own] if own else []
        shown += [
            f"{name}={each.item() if each.ndim == 0 else f'<{each.numel()} numbers>'}"
            for name, each in self.named_buffers()
        ]
        return ", ".join(shown)


def _is_several(parameter: Any) -> bool:
    """Return whether a parameter is an array or a list, and none of axes or names."""
    if isinstance(parameter, list | tuple):
        return all(isinstance(each, float) for each in parameter)
    return bool(getattr(parameter, "shape", ()))


def _tensor(value: Any) -> Any:
    """Return weights as a tensor, in torch's default dtype where they come without one."""
    if value is None or isinstance(value, torch.Tensor):
        return value
    return torch.as_tensor(value, dtype=torch.get_default_dtype())


class ApproxNDCGLoss(LossModule):
    of = tinyloss.ApproxNDCGLoss


class ArcFaceLoss(LossModule):
    of = tinyloss.ArcFaceLoss


class BCELoss(LossModule):
    of = tinyloss.BCELoss


class BCEWithLogitsLoss(LossModule):
    of = tinyloss.BCEWithLogitsLoss


class BarlowTwinsLoss(LossModule):
    of = tinyloss.BarlowTwinsLoss


class BarronLoss(LossModule):
    of = tinyloss.BarronLoss


class BinaryCrossEntropyLoss(LossModule):
    of = tinyloss.BinaryCrossEntropyLoss


class BrierLoss(LossModule):
    of = tinyloss.BrierLoss


class CORALLoss(LossModule):
    of = tinyloss.CORALLoss


class CORNLoss(LossModule):
    of = tinyloss.CORNLoss


class CPOLoss(LossModule):
    of = tinyloss.CPOLoss


class CRPSEnsembleLoss(LossModule):
    of = tinyloss.CRPSEnsembleLoss


class CRPSLoss(LossModule):
    of = tinyloss.CRPSLoss


class CTCLoss(LossModule):
    of = tinyloss.CTCLoss


class CategoricalHingeLoss(LossModule):
    of = tinyloss.CategoricalHingeLoss


class CircleLoss(LossModule):
    of = tinyloss.CircleLoss


class ContrastiveLoss(LossModule):
    of = tinyloss.ContrastiveLoss


class CosFaceLoss(LossModule):
    of = tinyloss.CosFaceLoss


class CosineEmbeddingLoss(LossModule):
    of = tinyloss.CosineEmbeddingLoss


class CosineSimilarityLoss(LossModule):
    of = tinyloss.CosineSimilarityLoss


class CoxPHLoss(LossModule):
    of = tinyloss.CoxPHLoss


class CrossEntropyLoss(LossModule):
    of = tinyloss.CrossEntropyLoss


class DPOLoss(LossModule):
    of = tinyloss.DPOLoss


class DiceLoss(LossModule):
    of = tinyloss.DiceLoss


class EpsilonInsensitiveLoss(LossModule):
    of = tinyloss.EpsilonInsensitiveLoss


class ExpectileLoss(LossModule):
    of = tinyloss.ExpectileLoss


class ExponentialLoss(LossModule):
    of = tinyloss.ExponentialLoss


class FenchelYoungLoss(LossModule):
    of = tinyloss.FenchelYoungLoss


class FocalTverskyLoss(LossModule):
    of = tinyloss.FocalTverskyLoss


class GammaDevianceLoss(LossModule):
    of = tinyloss.GammaDevianceLoss


class GaussianKLLoss(LossModule):
    of = tinyloss.GaussianKLLoss


class GaussianNLLLoss(LossModule):
    of = tinyloss.GaussianNLLLoss


class GeneralizedCrossEntropyLoss(LossModule):
    of = tinyloss.GeneralizedCrossEntropyLoss


class GeneralizedDiceLoss(LossModule):
    of = tinyloss.GeneralizedDiceLoss


class GeneralizedKLLoss(LossModule):
    of = tinyloss.GeneralizedKLLoss


class HingeLoss(LossModule):
    of = tinyloss.HingeLoss


class HuberLoss(LossModule):
    of = tinyloss.HuberLoss


class InfoNCELoss(LossModule):
    of = tinyloss.InfoNCELoss


class JSDivLoss(LossModule):
    of = tinyloss.JSDivLoss


class JaccardLoss(LossModule):
    of = tinyloss.JaccardLoss


class KLDivLoss(LossModule):
    of = tinyloss.KLDivLoss


class KLDivWithLogitsLoss(LossModule):
    of = tinyloss.KLDivWithLogitsLoss


class KTOLoss(LossModule):
    of = tinyloss.KTOLoss


class LambdaLoss(LossModule):
    of = tinyloss.LambdaLoss


class LambdaRankLoss(LossModule):
    of = tinyloss.LambdaRankLoss


class LinearCrossEntropyLoss(LossModule):
    of = tinyloss.LinearCrossEntropyLoss


class ListMLELoss(LossModule):
    of = tinyloss.ListMLELoss


class LogCoshLoss(LossModule):
    of = tinyloss.LogCoshLoss


class LogScoreLoss(LossModule):
    of = tinyloss.LogScoreLoss


class LovaszHingeLoss(LossModule):
    of = tinyloss.LovaszHingeLoss


class LovaszSoftmaxLoss(LossModule):
    of = tinyloss.LovaszSoftmaxLoss


class MAELoss(LossModule):
    of = tinyloss.MAELoss


class MAPELoss(LossModule):
    of = tinyloss.MAPELoss


class MSELoss(LossModule):
    of = tinyloss.MSELoss


class MSLELoss(LossModule):
    of = tinyloss.MSLELoss


class MarginRankingLoss(LossModule):
    of = tinyloss.MarginRankingLoss


class MeanSquaredError(LossModule):
    of = tinyloss.MeanSquaredError


class ModifiedHuberLoss(LossModule):
    of = tinyloss.ModifiedHuberLoss


class MultiMarginLoss(LossModule):
    of = tinyloss.MultiMarginLoss


class MultiSimilarityLoss(LossModule):
    of = tinyloss.MultiSimilarityLoss


class MultilabelMarginLoss(LossModule):
    of = tinyloss.MultilabelMarginLoss


class MultilabelSoftMarginLoss(LossModule):
    of = tinyloss.MultilabelSoftMarginLoss


class NLLLoss(LossModule):
    of = tinyloss.NLLLoss


class NPairsLoss(LossModule):
    of = tinyloss.NPairsLoss


class NTXentLoss(LossModule):
    of = tinyloss.NTXentLoss


class PairwiseDistanceLoss(LossModule):
    of = tinyloss.PairwiseDistanceLoss


class ORPOLoss(LossModule):
    of = tinyloss.ORPOLoss


class PairwiseHingeLoss(LossModule):
    of = tinyloss.PairwiseHingeLoss


class PairwiseLogisticLoss(LossModule):
    of = tinyloss.PairwiseLogisticLoss


class PairwiseMSELoss(LossModule):
    of = tinyloss.PairwiseMSELoss


class PairwiseSoftZeroOneLoss(LossModule):
    of = tinyloss.PairwiseSoftZeroOneLoss


class PerceptronLoss(LossModule):
    of = tinyloss.PerceptronLoss


class PoissonNLLLoss(LossModule):
    of = tinyloss.PoissonNLLLoss


class PolyCrossEntropyLoss(LossModule):
    of = tinyloss.PolyCrossEntropyLoss


class QuantileLoss(LossModule):
    of = tinyloss.QuantileLoss


class RelativeEntropyLoss(LossModule):
    of = tinyloss.RelativeEntropyLoss


class SMAPELoss(LossModule):
    of = tinyloss.SMAPELoss


class SigLIPLoss(LossModule):
    of = tinyloss.SigLIPLoss


class SigmoidFocalLoss(LossModule):
    of = tinyloss.SigmoidFocalLoss


class SimPOLoss(LossModule):
    of = tinyloss.SimPOLoss


class SmoothL1Loss(LossModule):
    of = tinyloss.SmoothL1Loss


class SoftMarginLoss(LossModule):
    of = tinyloss.SoftMarginLoss


class SoftmaxFocalLoss(LossModule):
    of = tinyloss.SoftmaxFocalLoss


class SquaredEpsilonInsensitiveLoss(LossModule):
    of = tinyloss.SquaredEpsilonInsensitiveLoss


class SquaredHingeLoss(LossModule):
    of = tinyloss.SquaredHingeLoss


class SupConLoss(LossModule):
    of = tinyloss.SupConLoss


class TripletMarginLoss(LossModule):
    of = tinyloss.TripletMarginLoss


class TverskyLoss(LossModule):
    of = tinyloss.TverskyLoss


class TweedieDevianceLoss(LossModule):
    of = tinyloss.TweedieDevianceLoss


class UniqueSoftmaxLoss(LossModule):
    of = tinyloss.UniqueSoftmaxLoss


class VICRegLoss(LossModule):
    of = tinyloss.VICRegLoss


class WingLoss(LossModule):
    of = tinyloss.WingLoss
