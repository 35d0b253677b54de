"""Losses of sequences: for speech and text without knowing which frame says what."""

from math import inf
from typing import Unpack

from tinyloss._engine.request import Request, Sequences
from tinyloss._formula import Block, Loops
from tinyloss._sequences import SequenceFunction
from tinyloss._traits import Traits
from tinyloss.losses._paths import Paths
from tinyloss.typing import Array, ArrayLike, Axis, Flag, IfInfeasible, Options

__all__ = ["ctc"]


class _CTC(Paths):
    @staticmethod
    def loops() -> Loops:
        """Return the same for one sequence, to be compiled."""
        from tinyloss.losses._paths_loop import LOOPS

        return LOOPS

    @staticmethod
    def block() -> Block:
        """Return the same for a block of a GPU's threads."""
        from tinyloss.losses._paths_loop import block

        return block()

    @classmethod
    def traits(cls) -> Traits:
        """Return what is known of it, as a function of the logits of all frames."""
        # Of each frame the slope is one probability less another, of all T up to the root of 2 T.
        # Where two paths that differ in most frames are as likely, it bends downwards as far.
        return Traits(
            convex=False,
            strong_convexity=0.0,
            lipschitz=inf,
            smoothness=inf,
            range=(0.0, inf),
            kinks=(),
        )


@SequenceFunction
def ctc(
    x: Array,
    y: ArrayLike,
    *,
    blank: Axis = 0,
    infeasible: IfInfeasible = "inf",
    label_lengths: ArrayLike | None = None,
    label_mask: ArrayLike | None = None,
    logit_lengths: ArrayLike | None = None,
    logit_mask: ArrayLike | None = None,
    per_label: Flag = False,
    time_axis: Axis = -2,
    **options: Unpack[Options],
) -> Request:
    """Connectionist temporal classification: labels whose frames nobody knows.

    Each frame of a sequence has a symbol: a label or the blank. A path of symbols spells what is
    left of it when repeated symbols are one and blanks are dropped. The loss is that of the
    probability of all paths that spell the target.

    Parameters
    ----------
    x
        Logits of the frames, the classes last. Softmax is part of the loss.
    y
        Labels of each sequence, of any integer dtype, padded to one length with anything.
    blank
        The class that stands for no label; -1 for the last.
    infeasible
        What becomes of a sequence whose frames are too few for its target: "inf" is its loss and
        0 its gradient; "ignore" leaves it out.
    label_lengths, logit_lengths
        How many labels, or frames, of each sequence count, of the first; None for all. They
        broadcast to the items.
    label_mask, logit_mask
        Which labels, or frames, count, in place of their numbers: booleans that broadcast to y, or
        to x without its classes.
    per_label
        Whether each loss is divided by how many labels it has, if any.
    time_axis
        The axis of x that the frames are along; 0 where they come first.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: speech, handwriting and other text, whose parts are in order but not aligned.

    Shapes: x (..., T, K), y (..., L), lengths (...); an item is a sequence.

    Domain: logits of all real numbers and -inf, for a class that is impossible. Labels are classes
    other than the blank.

    Formula: -log sum_a prod_t p_t(a_t), over all paths a that spell y, p_t the softmax of frame t

    Gradient: p_t(k) minus the posterior probability of symbol k in frame t. No curvature; JAX and
    torch differentiate the gradient, also for `hvp`.

    Accuracy: value 8 eps; gradient 16 eps of p (1 - c) + (1 - p) c, c the posterior, for 12 frames.
    Errors grow with the number of frames, by a quarter of an eps for each. Where the target is more
    likely than not, what else may be spelled is added up, not taken off 1: a loss of 1e-35 has
    all digits, and so has its gradient. What is computed in float32 (JAX without x64, CuPy, Dask
    of these) has the bounds of float32; NumPy and torch on the CPU compute in float64.

    Edge cases: -sum_t log p_t(blank) for an empty target; 0 without frames and labels. inf with
    gradient 0 where no path spells the target: equal labels side by side need a frame between.
    Frames and labels that do not count may hold anything, NaN included. A sequence has the same
    bits whatever stands beside it.

    Source: Graves et al., Connectionist temporal classification: labelling unsegmented sequence
    data with recurrent neural networks, ICML 2006.

    Elsewhere: torch `ctc_loss`; optax `ctc_loss`; Keras `CTC`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.log([[[0.6, 0.4], [0.6, 0.4]]])  # two frames of a blank and one label
    >>> tinyloss.ctc(x, np.array([[1]])).round(6).item()  # 1 - 0.6 * 0.6
    0.446287
    >>> tinyloss.grad(tinyloss.ctc)(x, np.array([[1]])).round(3).tolist()
    [[[0.225, -0.225], [0.225, -0.225]]]
    """
    sequences = Sequences(
        x,
        _CTC,
        time_axis,
        blank,
        frames=logit_mask,
        logit_lengths=logit_lengths,
        labels=label_mask,
        label_lengths=label_lengths,
        per_label=per_label,
        leaves_out=infeasible == "ignore",
    )
    return Request(None, sequences, y, title="ctc", **options)
