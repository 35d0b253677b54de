"""Where tinyloss differs from others on purpose: a page of the documentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Row:
    """An entry of the page: where, our answer, the others' answer, and why ours."""

    where: str
    tinyloss: str
    others: str
    why: str


VALUES: dict[str, Row] = {
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
    "equal-points": Row(
        "`triplet_margin` and `pairwise_distance` of points that are equal",
        "the distance is 0, and so is its gradient",
        "torch: 1e-6 times the root of the number of elements; optax: 1e-3",
        "nothing has to be added under the root to have a gradient there",
    ),
    "odd-norms": Row(
        "`triplet_margin` with p = 3",
        "the p-norm",
        "optax: NaN, powers of differences and not of their sizes",
        "a norm is of sizes",
    ),
    "zero-vectors": Row(
        "`cosine_similarity` with a vector of zeros",
        "0, gradient 0",
        "torch: 0, with a gradient of 5e7 beside a vector of four ones",
        "a vector without a direction has none to turn to",
    ),
    "parallel": Row(
        "`cosine_embedding` of vectors of three elements that differ by 1e-4 in one, float32",
        "1.1e-9, all digits",
        "torch: -1.2e-7",
        "1 - cos is taken of what the vectors differ by",
    ),
}
"""What is computed otherwise."""

CALLS: dict[str, Row] = {
    "shapes": Row(
        "x of shape (3,) and y of shape (3, 1)",
        "an error that shows both shapes",
        "torch: broadcasts to (3, 3), with a warning or (poisson_nll_loss) without; "
        "optax.huber_loss: broadcasts silently",
        "it is almost always a mistake",
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
"""What is taken otherwise."""

DIFFERENCES = VALUES | CALLS

GROUPS: Mapping[str, Sequence[str]] = {
    "Digits": "confident tails small-errors close-logits soft-margin bce-probabilities "
    "half-precision parallel".split(),
    "Means, weights and what is left out": "nothing-selected weighted-mean class-weights weight-0 "
    "ignore-index ignore-index-probabilities kl-mean".split(),
    "Zeros, infinities and the edges of a domain": "impossible-class smoothing kl-zeros "
    "infinite-logits negative-variance outside msle-negative equal-points odd-norms "
    "zero-vectors".split(),
    "Derivatives": "kinks gaussian-floor no-curvature".split(),
    "Shapes and axes": "shapes weight-shape class-axis square-weight square-variance".split(),
    "Targets, dtypes and parameters": "label-range target-range label-dtypes signed-booleans "
    "integer-predictions parameters array-parameters two-libraries".split(),
}
"""The page's sections, and what is in them by its key."""


class Shown:
    """Marks the tests of the entries."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._tests: dict[str, str] = {}

    def __call__(self, key: str) -> Callable[[Test], Test]:
        def mark(test: Test) -> Test:
            assert key in self._rows, key
            assert key not in self._tests, key
            self._tests[key] = test.__name__
            return test

        return mark

    def check(self, tests: Mapping[str, Any]) -> None:
        """Hold that each row has its test, in their order."""
        assert list(self._tests) == list(self._rows)
        assert set(self._tests.values()) <= set(tests)
