"""What each loss is for and what others call it: README's table, and the documentation's."""

from dataclasses import dataclass, field

NUMBERS, YES_OR_NO, MARGINS = "numbers", "yes or no", "margins"
ONE_OF_MANY, DISTRIBUTIONS = "one of many", "distributions"

FAMILIES = (NUMBERS, YES_OR_NO, MARGINS, ONE_OF_MANY, DISTRIBUTIONS)


@dataclass(frozen=True)
class Use:
    """What a loss is for, what its prediction and target are, and its names elsewhere."""

    family: str
    best_for: str
    x: str = "a number"
    y: str = "a number"
    torch: str = ""
    optax: str = ""
    keras: str = ""
    sklearn: str = ""
    elsewhere: dict[str, str] = field(default_factory=dict[str, str])
    """What is different there, by the field."""


LOGITS = "logits, one for each class"
PROBABILITY, LOG_PROBABILITIES = "a probability", "log-probabilities"
CLASS = "index of the class, or probabilities"
YES = "0 or 1, or a probability"
SIGN = "-1 or 1, or a boolean"

USES: dict[str, Use] = {
    "mse": Use(
        NUMBERS,
        "errors that are noise of one size",
        torch="mse_loss",
        optax="squared_error",
        keras="MeanSquaredError",
        sklearn="mean_squared_error",
    ),
    "mae": Use(
        NUMBERS,
        "the median; outliers",
        torch="l1_loss",
        keras="MeanAbsoluteError",
        sklearn="mean_absolute_error",
    ),
    "huber": Use(
        NUMBERS,
        "outliers, and a gradient that shrinks near the target",
        torch="huber_loss",
        optax="huber_loss",
        keras="Huber",
    ),
    "smooth_l1": Use(NUMBERS, "boxes in images", torch="smooth_l1_loss"),
    "log_cosh": Use(
        NUMBERS, "outliers, without a threshold", optax="log_cosh", keras="LogCosh"
    ),
    "quantile": Use(
        NUMBERS,
        "a bound that a share q of the targets stays below",
        sklearn="mean_pinball_loss",
    ),
    "msle": Use(
        NUMBERS,
        "targets that span powers of ten",
        keras="MeanSquaredLogarithmicError",
        sklearn="mean_squared_log_error",
    ),
    "mape": Use(
        NUMBERS,
        "errors as shares of the target",
        keras="MeanAbsolutePercentageError",
        sklearn="mean_absolute_percentage_error",
        elsewhere={"keras": "in percent"},
    ),
    "poisson_nll": Use(
        NUMBERS,
        "counts",
        "logarithm of the rate",
        "a count",
        torch="poisson_nll_loss",
        keras="Poisson",
        sklearn="mean_poisson_deviance",
        elsewhere={"keras": "of exp(x)", "sklearn": "twice of it, of exp(x)"},
    ),
    "gaussian_nll": Use(
        NUMBERS,
        "predictions that say how sure they are",
        "mean, and a variance",
        torch="gaussian_nll_loss",
    ),
    "binary_cross_entropy": Use(
        YES_OR_NO,
        "probabilities that come from elsewhere",
        PROBABILITY,
        YES,
        torch="binary_cross_entropy",
        keras="BinaryCrossentropy",
        sklearn="log_loss",
    ),
    "binary_cross_entropy_with_logits": Use(
        YES_OR_NO,
        "yes or no; several labels for an item",
        "a logit",
        YES,
        torch="binary_cross_entropy_with_logits",
        optax="sigmoid_binary_cross_entropy",
        keras="BinaryCrossentropy",
        elsewhere={"keras": "from_logits=True"},
    ),
    "sigmoid_focal": Use(
        YES_OR_NO,
        "yes or no where almost all is an easy no",
        "a logit",
        YES,
        optax="sigmoid_focal_loss",
        keras="BinaryFocalCrossentropy",
        elsewhere={"keras": "from_logits=True"},
    ),
    "hinge": Use(
        MARGINS,
        "support vector machines; pairs to rank",
        "a score",
        SIGN,
        optax="hinge_loss",
        keras="Hinge",
        sklearn="hinge_loss",
    ),
    "squared_hinge": Use(
        MARGINS, "the same without a kink", "a score", SIGN, keras="SquaredHinge"
    ),
    "soft_margin": Use(
        MARGINS, "logistic regression; pairs to rank", "a score", SIGN, torch="soft_margin_loss"
    ),
    "cross_entropy": Use(
        ONE_OF_MANY,
        "one class of many: images, tokens",
        LOGITS,
        CLASS,
        torch="cross_entropy",
        optax="softmax_cross_entropy_with_integer_labels",
        keras="SparseCategoricalCrossentropy",
        elsewhere={
            "keras": "from_logits=True",
            "optax": "of probabilities `softmax_cross_entropy`",
        },
    ),
    "softmax_focal": Use(
        ONE_OF_MANY,
        "one class of many where most items are easy",
        LOGITS,
        "index of the class",
        keras="CategoricalFocalCrossentropy",
        elsewhere={"keras": "from_logits=True"},
    ),
    "nll": Use(
        ONE_OF_MANY,
        "a network that ends in a log-softmax",
        LOG_PROBABILITIES,
        "index of the class",
        torch="nll_loss",
    ),
    "kl_div": Use(
        DISTRIBUTIONS,
        "distributions given by their logarithms",
        LOG_PROBABILITIES,
        "probabilities",
        torch="kl_div",
        optax="kl_divergence",
        keras="KLDivergence",
        elsewhere={"torch": 'reduction="batchmean"', "keras": "of probabilities"},
    ),
    "kl_div_with_logits": Use(
        DISTRIBUTIONS, "distillation from a teacher's logits", LOGITS, LOGITS
    ),
    "js_div": Use(
        DISTRIBUTIONS, "distributions that have zeros", "probabilities", "probabilities"
    ),
}
