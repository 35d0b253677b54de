"""Losses of preferences: of the log-probabilities that a policy gives to whole answers."""

from dataclasses import replace
from math import exp, inf, log, sqrt, tanh
from typing import Any, Unpack

from tinyloss._arrays import namespace
from tinyloss._differences import exact_difference, exp_difference
from tinyloss._engine.request import Request
from tinyloss._formula import Formula
from tinyloss._function import LossFunction
from tinyloss._tokens import TokensFunction
from tinyloss._traits import Traits, highest
from tinyloss.losses._numerics import Sigmoids, positive_part, product, sigmoids, steep
from tinyloss.losses.products import LogProbability
from tinyloss.typing import (
    Array,
    ArrayLike,
    CheckedCPOKind,
    CheckedDPOKind,
    ClassIndex,
    NonNegative,
    Options,
    Positive,
    SequenceReduction,
    Share,
)

__all__ = ["cpo", "dpo", "kto", "orpo", "sequence_logprob", "simpo"]

_PAIR = {"x": "chosen", "y": "rejected"}


def _above(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a - b as a number and what it lost to rounding; a and 0 without a b."""
    return (a, 0.0) if b is None else exact_difference(a, b)


def _softpluses(z: Any) -> tuple[Sigmoids, Any]:
    """Return the sigmoids of -z, whose softplus is -log s(z), and softplus(z) by the same fold."""
    s = sigmoids(-z)
    return s, positive_part(z) + s.log1p


def _bend(s: Sigmoids) -> Any:
    """Return s(z) s(-z), the slope of a sigmoid."""
    return s.plus * s.minus


_CONVEX = Traits(convex=True, strong_convexity=0.0, range=(0.0, inf))
_SQUARE = replace(_CONVEX, strong_convexity=2.0, lipschitz=inf, smoothness=2.0, kinks=())
_BOUNDED = Traits(convex=False, strong_convexity=0.0, kinks=())
_STEEPEST_BEND = 6 * sqrt(3)
"""One over the most that s(z) bends, where s(z) = (3 - sqrt(3)) / 6."""


def _spread(z: float) -> float:
    """Return s(z) s(-z)."""
    e = exp(-abs(z))
    return e / (1 + e) ** 2


class _Pair(Formula):
    """A function of c = chosen - ref_chosen and of r = rejected - ref_rejected.

    Log-probabilities of answers are long sums, and close to those of the reference: so what their
    differences lose to rounding is added at the end.
    """

    name = "dpo"

    def __init__(
        self,
        x: Any,
        y: Any,
        ref_chosen: Any = None,
        ref_rejected: Any = None,
        *,
        beta: Any,
        alpha: Any = None,
        gamma: Any = None,
        label_smoothing: Any = None,
    ) -> None:
        self.xp = namespace(x)
        (self.c, c_rest), (self.r, r_rest) = _above(x, ref_chosen), _above(y, ref_rejected)
        apart, rest = exact_difference(self.c, self.r)
        self.d = apart + (rest + (c_rest - r_rest))
        self.x, self.beta, self.alpha, self.eps = x, beta, alpha, label_smoothing
        self.z = beta * self.d if gamma is None else beta * self.d - gamma
        self.prepare()

    def prepare(self) -> None:
        """Compute what the results share."""

    def of_pair(self) -> Any:
        """Return the loss without the log-likelihood of the chosen."""
        raise NotImplementedError

    def by_c(self) -> Any:
        """Return its derivative by c."""
        raise NotImplementedError

    def by_r(self) -> Any:
        """Return its derivative by r."""
        return -self.by_c()

    def value(self) -> Any:
        pair = self.of_pair()
        return pair if self.alpha is None else pair - self.alpha * self.x

    def grad_x(self) -> Any:
        slope = self.by_c()
        return slope if self.alpha is None else slope - self.alpha

    def grad_y(self) -> Any:
        return self.by_r()

    def grad_ref_chosen(self) -> Any:
        return -self.by_c()

    def grad_ref_rejected(self) -> Any:
        return -self.by_r()

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        """Return what is known without the log-likelihood, of a share of wrong labels."""
        raise NotImplementedError

    @classmethod
    def traits(
        cls,
        *,
        beta: float,
        alpha: float | None = None,
        gamma: float | None = None,
        label_smoothing: float | None = None,
        **references: Any,
    ) -> Traits:
        del gamma, references  # they move z
        known = cls.of_share(beta, label_smoothing or 0.0)
        if alpha is None:
            return known
        ends, steepest = cls.slopes(beta, label_smoothing or 0.0), known.lipschitz
        if ends is not None:
            steepest = max(abs(end - alpha) for end in ends)
        return replace(known, lipschitz=steepest, range=(-inf, inf))

    @classmethod
    def slopes(cls, beta: float, share: float) -> tuple[float, float] | None:
        """Return between which numbers slopes by the chosen are, None for all."""
        raise NotImplementedError


class _Sigmoid(_Pair):
    def prepare(self) -> None:
        self.right, self.wrong = _softpluses(self.z)

    def of_pair(self) -> Any:
        if self.eps is None:
            return self.right.softplus
        return (1 - self.eps) * self.right.softplus + self.eps * self.wrong

    def by_c(self) -> Any:
        if self.eps is None:
            return -self.beta * self.right.plus
        return self.beta * (self.eps * self.right.minus - (1 - self.eps) * self.right.plus)

    def curvature(self) -> Any:
        return (self.beta * self.right.plus) * (self.beta * self.right.minus)

    @classmethod
    def slopes(cls, beta: float, share: float) -> tuple[float, float] | None:
        return -beta * (1 - share), beta * share

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        # at s(z) = 1 - share it is what is uncertain of a label
        least = 0.0 - sum([each * log(each) for each in (share, 1 - share) if each])
        return replace(
            _CONVEX,
            lipschitz=beta * max(share, 1 - share),
            smoothness=beta * beta / 4,
            range=(least, inf),
            kinks=(),
        )


class _Robust(_Sigmoid):
    """((1 - e) softplus(-z) - e softplus(z)) / (1 - 2 e), where softplus(z) = z + softplus(-z)."""

    def of_pair(self) -> Any:
        return self.right.softplus - self.eps / (1 - 2 * self.eps) * self.z

    def by_c(self) -> Any:
        mixed = (1 - self.eps) * self.right.plus + self.eps * self.right.minus
        return -self.beta * (mixed / (1 - 2 * self.eps))

    @classmethod
    def slopes(cls, beta: float, share: float) -> tuple[float, float] | None:
        kept = 1 - 2 * share
        return -beta * (1 - share) / kept, -beta * share / kept

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        return replace(
            super().of_share(beta, 0.0),
            lipschitz=beta * (1 - share) / (1 - 2 * share),
            range=(-inf, inf),
        )


class _Hinge(_Pair):
    def prepare(self) -> None:
        self.short = 1 - self.z

    def of_pair(self) -> Any:
        return positive_part(self.short)

    def by_c(self) -> Any:
        # Neither above nor up to 0 is NaN, which must show.
        xp, short = self.xp, self.short
        slope = -self.beta * xp.ones_like(short)
        return xp.where(short > 0, slope, xp.where(short <= 0, 0.0, short))

    def curvature(self) -> Any:
        return self.xp.zeros_like(self.short)

    boosting_curvature = steep

    @classmethod
    def slopes(cls, beta: float, share: float) -> tuple[float, float] | None:
        return -beta, 0.0

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        return replace(_CONVEX, lipschitz=beta, smoothness=inf)


class _IPO(_Pair):
    def prepare(self) -> None:
        self.off = self.d - 0.5 / self.beta

    def of_pair(self) -> Any:
        return self.off * self.off

    def by_c(self) -> Any:
        return 2 * self.off

    def curvature(self) -> Any:
        return 2 * self.xp.ones_like(self.off)

    @classmethod
    def slopes(cls, beta: float, share: float) -> tuple[float, float] | None:
        return None

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        return _SQUARE


class _EXO(_Sigmoid):
    """The divergence of (s(z), s(-z)) from (1 - e, e); its slope by z is s(z) s(-z) (z - lead)."""

    def prepare(self) -> None:
        super().prepare()
        xp = self.xp
        unlikely = xp.zeros_like(self.z) + self.eps
        self.log_yes, self.log_no = xp.log1p(-unlikely), xp.log(unlikely)
        self.over = self.z - (self.log_yes - self.log_no)
        self.both = self.right.plus * self.right.minus

    def of_pair(self) -> Any:
        yes = product(self.right.minus, self.right.softplus + self.log_yes)
        return -(yes + product(self.right.plus, self.wrong + self.log_no))

    def by_c(self) -> Any:
        return self.beta * product(self.both, self.over)

    def curvature(self) -> Any:
        lean = self.xp.tanh(0.5 * self.z)
        bend = self.both - product(self.both, lean * self.over)
        return self.beta * (self.beta * bend)

    boosting_curvature = steep

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        lead = log((1 - share) / share)

        def slope(z: float) -> float:
            return abs(z - lead) * _spread(z)

        def bend(z: float) -> float:
            return abs(1 - tanh(0.5 * z) * (z - lead)) * _spread(z)

        parts = [(end, end + 2) for end in range(-32, 32, 2)]  # each has one peak at most
        return replace(
            _BOUNDED,
            lipschitz=beta * max(highest(slope, *part) for part in parts),
            smoothness=beta * beta * max(highest(bend, *part) for part in parts),
            range=(0.0, -log(min(share, 1 - share))),
        )


class _OfBoth(_Pair):
    """A function of beta c and beta r, each for itself."""

    def prepare(self) -> None:
        self.z_c = self.beta * self.c
        self.right, self.wrong = _softpluses(self.z_c)
        self.of_r = sigmoids(self.beta * self.r)


class _NCA(_OfBoth):
    def of_pair(self) -> Any:
        return self.right.softplus + 0.5 * self.wrong + 0.5 * self.of_r.softplus

    def by_c(self) -> Any:
        return self.beta * (0.5 * self.right.minus - self.right.plus)

    def by_r(self) -> Any:
        return self.beta * (0.5 * self.of_r.plus)

    def curvature(self) -> Any:
        return (1.5 * self.beta * self.right.plus) * (self.beta * self.right.minus)

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        # its least is at s(beta c) = 2 / 3
        return replace(
            _CONVEX,
            lipschitz=beta,
            smoothness=1.5 * beta * beta / 4,
            range=(log(1.5) + 0.5 * log(3), inf),
            kinks=(),
        )


class _BCO(_OfBoth):
    def of_pair(self) -> Any:
        return self.right.softplus + self.of_r.softplus

    def by_c(self) -> Any:
        return -self.beta * self.right.plus

    def by_r(self) -> Any:
        return self.beta * self.of_r.plus

    def curvature(self) -> Any:
        return (self.beta * self.right.plus) * (self.beta * self.right.minus)

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        return replace(_CONVEX, lipschitz=beta, smoothness=beta * beta / 4, kinks=())


class _SPPO(_Pair):
    def prepare(self) -> None:
        half = 0.5 / self.beta
        self.below, self.over = self.c - half, self.r + half

    def of_pair(self) -> Any:
        return self.below * self.below + self.over * self.over

    def by_c(self) -> Any:
        return 2 * self.below

    def by_r(self) -> Any:
        return 2 * self.over

    def curvature(self) -> Any:
        return 2 * self.xp.ones_like(self.below)

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        return _SQUARE


class _APOZero(_OfBoth):
    def of_pair(self) -> Any:
        return self.right.plus + self.of_r.plus

    def by_c(self) -> Any:
        return -self.beta * _bend(self.right)

    def by_r(self) -> Any:
        return self.beta * _bend(self.of_r)

    def curvature(self) -> Any:
        return self.beta * (self.beta * (_bend(self.right) * self.xp.tanh(0.5 * self.z_c)))

    boosting_curvature = steep

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        bend = beta * beta / _STEEPEST_BEND
        return replace(_BOUNDED, lipschitz=beta / 4, smoothness=bend, range=(0.0, 2.0))


class _APODown(_OfBoth):
    def prepare(self) -> None:
        super().prepare()
        self.s = sigmoids(-self.z)

    def of_pair(self) -> Any:
        return self.right.minus + self.s.plus

    def by_c(self) -> Any:
        return self.beta * (_bend(self.right) - _bend(self.s))

    def by_r(self) -> Any:
        return self.beta * _bend(self.s)

    def curvature(self) -> Any:
        tanh = self.xp.tanh
        bend = _bend(self.s) * tanh(0.5 * self.z) - _bend(self.right) * tanh(0.5 * self.z_c)
        return self.beta * (self.beta * bend)

    boosting_curvature = steep

    @classmethod
    def of_share(cls, beta: float, share: float) -> Traits:
        # r puts both terms where they bend most
        bend = 2 * beta * beta / _STEEPEST_BEND
        return replace(_BOUNDED, lipschitz=beta / 4, smoothness=bend, range=(0.0, 2.0))


_DPO: dict[str, type[_Pair]] = {
    "sigmoid": _Sigmoid,
    "robust": _Robust,
    "hinge": _Hinge,
    "ipo": _IPO,
    "exo_pair": _EXO,
    "nca_pair": _NCA,
    "bco_pair": _BCO,
    "sppo_hard": _SPPO,
    "apo_zero": _APOZero,
    "apo_down": _APODown,
}
_SMOOTHED = ("sigmoid", "robust", "exo_pair")
_EXO_SHARE = 1e-3
"""What stands for a share of 0, which has an infinite loss: the authors' default."""


def _smoothed(name: str, kind: str, share: Any) -> tuple[type[_Pair], dict[str, Any]]:
    """Return the formula of a kind and its share of wrong labels, where there is one."""
    given = not isinstance(share, float) or share != 0
    if given and kind not in _SMOOTHED:
        raise ValueError(
            f"tinyloss.{name}: label_smoothing is {share} beside kind={kind!r}, expected 0: only "
            f"{', '.join(map(repr, _SMOOTHED))} take it"
        )
    if kind == "robust" and isinstance(share, float) and share >= 0.5:
        raise ValueError(
            f'tinyloss.{name}: label_smoothing is {share} beside kind="robust", expected a number '
            "from 0.0 to below 0.5"
        )
    if kind == "exo_pair" and not given:
        return _EXO, {"label_smoothing": _EXO_SHARE}
    formula = _Sigmoid if kind == "robust" and not given else _DPO[kind]
    return formula, {"label_smoothing": share} if given else {}


def _likelihood(alpha: Any) -> dict[str, Any]:
    """Return how much the log-likelihood of the chosen counts, where it does."""
    return {} if isinstance(alpha, float) and alpha == 0 else {"alpha": alpha}


@LossFunction
def dpo(
    chosen: Array,
    rejected: ArrayLike,
    ref_chosen: ArrayLike,
    ref_rejected: ArrayLike,
    *,
    beta: Positive = 0.1,
    kind: CheckedDPOKind = "sigmoid",
    label_smoothing: Share = 0.0,
    **options: Unpack[Options],
) -> Request:
    """Direct preference optimization: the chosen answer above the rejected one, by a reference.

    Parameters
    ----------
    chosen
        Log-probabilities of the chosen answers, each the sum over its tokens: `sequence_logprob`.
    rejected
        Log-probabilities of the rejected answers.
    ref_chosen, ref_rejected
        Those that the reference gives to the same answers; they broadcast to `chosen`.
    beta
        How closely the policy is held to the reference, above 0.
    kind
        The function of the differences, by the names of TRL's `loss_type`: "sigmoid", "robust",
        "hinge", "ipo", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down".
    label_smoothing
        The share of pairs that are taken to be the wrong way round: 0 to 1 for "sigmoid" (the
        conservative loss), below 0.5 for "robust", above 0 for "exo_pair", where 0 stands for
        0.001. Beside other kinds it is an error.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a model that is to prefer one of two answers, beside a reference model.

    Shapes: chosen and rejected (...), the references (...) or broadcasting to it; an item is a
    pair of answers.

    Domain: all real numbers.

    Formula: with c = chosen - ref_chosen, r = rejected - ref_rejected, z = beta (c - r), s(z) =
    1 / (1 + exp(-z)), l(z) = log(1 + exp(z)) and e = label_smoothing: (1 - e) l(-z) + e l(z);
    "robust" ((1 - e) l(-z) - e l(z)) / (1 - 2 e); "hinge" max(0, 1 - z); "ipo"
    (c - r - 1 / (2 beta))^2; "exo_pair" s(z) (log s(z) - log(1 - e)) + s(-z) (log s(-z) - log e);
    "nca_pair" l(-beta c) + l(beta c) / 2 + l(beta r) / 2; "bco_pair" l(-beta c) + l(beta r);
    "sppo_hard" (c - 1 / (2 beta))^2 + (r + 1 / (2 beta))^2; "apo_zero" s(-beta c) + s(beta r);
    "apo_down" s(beta c) + s(-z)

    Gradient: by chosen beta (e s(z) - (1 - e) s(-z)), its opposite by rejected; of other kinds the
    formula's derivative, 0 at the kink z = 1 of the hinge. Those by the references are the
    opposites. Curvature by chosen beta^2 s(z) s(-z); for boosting 1 where it is not above 0: of
    "hinge", "exo_pair", "apo_zero" and "apo_down".

    Accuracy: value 4 eps; gradient 4 eps; curvature 6 eps. All are times 1 + |z|, the largest of
    beta |c|, beta |r| and |z| where both are used, and of the sum of the terms' sizes. What c - r
    loses to rounding is added to it, so that nothing depends on the size of the log-probabilities.

    Edge cases: where the policy is the reference, log 2 and beta / 2. "ipo" takes the mean over an
    answer's tokens where the caller gives means, as TRL does.

    Source: Rafailov et al., Direct preference optimization, NeurIPS 2023; Mitchell, A note on DPO
    with noisy preferences, 2023; Chowdhury et al., Provably robust DPO, ICML 2024; Azar et al., A
    general theoretical paradigm to understand learning from human preferences, AISTATS 2024.

    Elsewhere: TRL `DPOTrainer`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> chosen, rejected = np.array([-10.5]), np.array([-12.0])
    >>> references = np.array([-11.0]), np.array([-11.25])
    >>> tinyloss.dpo(chosen, rejected, *references).round(6).item()
    0.632599
    >>> tinyloss.dpo(chosen, rejected, *references, kind="hinge").round(6).item()
    0.875
    """
    formula, share = _smoothed("dpo", kind, label_smoothing)
    arrays = {"ref_chosen": ref_chosen, "ref_rejected": ref_rejected}
    params = {"beta": beta, **share}
    return Request(formula, chosen, rejected, params, arrays, called=_PAIR, **options)


@LossFunction
def cpo(
    chosen: Array,
    rejected: ArrayLike,
    *,
    alpha: NonNegative = 1.0,
    beta: Positive = 0.1,
    kind: CheckedCPOKind = "sigmoid",
    label_smoothing: Share = 0.0,
    **options: Unpack[Options],
) -> Request:
    """Contrastive preference optimization: the chosen above the rejected, and likely.

    Parameters
    ----------
    chosen
        Log-probabilities of the chosen answers, each the sum over its tokens: `sequence_logprob`.
    rejected
        Log-probabilities of the rejected answers.
    alpha
        How much the chosen answer's negative log-probability counts beside, at least 0.
    beta
        The factor of the difference, above 0.
    kind
        The function of the difference: "sigmoid", "hinge" or "ipo".
    label_smoothing
        The share of pairs that are taken to be the wrong way round, for "sigmoid"; beside other
        kinds it is an error.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: preferences without a reference model, such as of translations.

    Shapes: chosen and rejected (...), an item is a pair of answers.

    Domain: all real numbers.

    Formula: f(beta (chosen - rejected)) - alpha chosen, f as for `dpo` without references.

    Gradient: that of `dpo`, less alpha by chosen.

    Accuracy: value 4 eps; gradient 4 eps; curvature 6 eps. All are times 1 + |z|, z =
    beta (chosen - rejected), and of the sum of the terms' sizes.

    Edge cases: TRL adds the mean over all chosen tokens instead: alpha=0 and `cross_entropy`.

    Source: Xu et al., Contrastive preference optimization, ICML 2024.

    Elsewhere: TRL `CPOTrainer`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> chosen, rejected = np.array([-10.5]), np.array([-12.0])
    >>> tinyloss.cpo(chosen, rejected, alpha=0.0).round(6).item()
    0.620957
    """
    formula, share = _smoothed("cpo", kind, label_smoothing)
    params = {"beta": beta, **share, **_likelihood(alpha)}
    return Request(formula, chosen, rejected, params, called=_PAIR, title="cpo", **options)


@LossFunction
def simpo(
    chosen: Array,
    rejected: ArrayLike,
    *,
    beta: Positive = 2.0,
    gamma: NonNegative = 0.5,
    label_smoothing: Share = 0.0,
    **options: Unpack[Options],
) -> Request:
    """Simple preference optimization: the chosen answer's mean log-probability, by a margin.

    Parameters
    ----------
    chosen
        Log-probabilities of the chosen answers, each the mean over its tokens:
        `sequence_logprob(..., reduction="mean")`.
    rejected
        Log-probabilities of the rejected answers.
    beta
        The factor of the difference, above 0.
    gamma
        The margin that beta times the difference shall reach, at least 0.
    label_smoothing
        The share of pairs that are taken to be the wrong way round.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: preferences without a reference model, of answers of unlike lengths.

    Shapes: chosen and rejected (...), an item is a pair of answers.

    Domain: all real numbers.

    Formula: (1 - e) l(-z) + e l(z), z = beta (chosen - rejected) - gamma, l(z) = log(1 + exp(z)), e
    = label_smoothing

    Gradient: beta (e s(z) - (1 - e) s(-z)) by chosen, s(z) = 1 / (1 + exp(-z)), its opposite by
    rejected; curvature beta^2 s(z) s(-z).

    Accuracy: value 4 eps; gradient 4 eps; curvature 6 eps. All are times 1 + gamma +
    beta |chosen - rejected|, and of the sum of the terms' sizes.

    Edge cases: gamma is not divided by beta. TRL's `simpo_gamma` is the same number, of which it
    divides and multiplies.

    Source: Meng et al., SimPO: simple preference optimization with a reference-free reward, NeurIPS
    2024.

    Elsewhere: TRL `CPOConfig(loss_type="simpo")`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> tinyloss.simpo(np.array([-0.75]), np.array([-1.5])).round(6).item()
    0.313262
    """
    formula, share = _smoothed("simpo", "sigmoid", label_smoothing)
    params = {"beta": beta, "gamma": gamma, **share}
    return Request(formula, chosen, rejected, params, called=_PAIR, title="simpo", **options)


class _ORPO(Formula):
    """With a = e^c (1 - e^r) and b = e^r (1 - e^c) the ratio of the odds is a / b.

    Both are over the larger of e^c and e^r. All that is added up has one sign.
    """

    name = "orpo"
    harmless = -1.0

    def __init__(self, x: Any, y: Any, *, beta: Any, alpha: Any = None) -> None:
        self.xp = xp = namespace(x)
        self.x, self.beta, self.alpha = x, beta, alpha
        self.c, self.r = c, r = xp.where(x > 0, xp.nan, x), xp.where(y > 0, xp.nan, y)
        largest = xp.maximum(c, r)
        # not the opposite, which would be -0 for certain answers
        self.not_c, self.not_r = xp.abs(xp.expm1(c)), xp.abs(xp.expm1(r))
        self.e_c, self.e_r = exp_difference(c, largest), exp_difference(r, largest)
        self.a, self.b = self.e_c * self.not_r, self.e_r * self.not_c
        self.both = self.a + self.b

    def value(self) -> Any:
        xp = self.xp
        ratio = self.b / self.a
        usual = ratio < float(xp.finfo(ratio.dtype).max)
        of_ratio = xp.log1p(xp.where(usual, ratio, 0.0))
        far_c, far_r = (xp.where(usual, 0.5, each) for each in (self.not_c, self.not_r))
        # Beyond the largest ratio 1 + it is no more than it.
        beyond = (self.r - self.c) + (xp.log(far_c) - xp.log(far_r))
        pair = self.beta * xp.where(usual, of_ratio, beyond)
        return pair if self.alpha is None else pair - self.alpha * self.x

    def grad_x(self) -> Any:
        slope = -self.beta * (self.e_r / self.both)
        return slope if self.alpha is None else slope - self.alpha

    def grad_y(self) -> Any:
        return self.beta * ((self.b / self.both) / self.not_r)

    def curvature(self) -> Any:
        bend = (self.e_r / self.both) * (self.e_c / self.both)
        return self.beta * (bend * (1 - 2 * self.xp.exp(self.r)))

    boosting_curvature = steep

    @classmethod
    def traits(cls, **parameters: Any) -> Traits:
        del parameters
        # With o the odds of the rejected it is beta (log(o + (1 - o) e^c) - c) - alpha c. Where o
        # is above 1 that bends downwards. As o grows it gets steeper, and bends more, without end.
        return replace(_BOUNDED, lipschitz=inf, smoothness=inf, range=(0.0, inf))


@LossFunction
def orpo(
    chosen: Array,
    rejected: ArrayLike,
    *,
    alpha: NonNegative = 1.0,
    beta: Positive = 0.1,
    **options: Unpack[Options],
) -> Request:
    """Odds-ratio preference optimization: the chosen likely, and its odds above the rejected's.

    Parameters
    ----------
    chosen
        Log-probabilities of the chosen answers, at most 0, each the mean over its tokens:
        `sequence_logprob(..., reduction="mean")`.
    rejected
        Log-probabilities of the rejected answers.
    alpha
        How much the chosen answer's negative log-probability counts beside, at least 0.
    beta
        How much the odds count, above 0: lambda in the paper.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: fine-tuning and preferences in one step, without a reference model.

    Shapes: chosen and rejected (...), an item is a pair of answers.

    Domain: chosen and rejected at most 0, NaN above.

    Formula: beta log(1 + exp(-o)) - alpha chosen, o = log(p / (1 - p)) - log(q / (1 - q)), p =
    exp(chosen), q = exp(rejected)

    Gradient: with d = p (1 - q) + q (1 - p), -beta q / d - alpha by chosen,
    beta q (1 - p) / (d (1 - q)) by rejected. Curvature beta p q (1 - 2 q) / d^2, for boosting 1
    where it is not above 0.

    Accuracy: value 8 eps; gradient 8 eps; curvature 16 eps. The curvature has these 16 eps of the
    sum of its terms' sizes. 1 - p keeps its digits where p is almost 1.

    Edge cases: a chosen answer that is certain costs 0, with a slope; a rejected one inf. Both
    certain give NaN. TRL adds the mean over all chosen tokens instead: alpha=0 and
    `cross_entropy`.

    Source: Hong et al., ORPO: monolithic preference optimization without reference model, EMNLP
    2024.

    Elsewhere: TRL `ORPOTrainer`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> chosen, rejected = np.array([-0.75]), np.array([-1.5])
    >>> tinyloss.orpo(chosen, rejected, alpha=0.0, beta=1.0).round(6).item()
    0.278254
    >>> print(f"{tinyloss.orpo(np.array([-1e-9]), np.array([-2.0]), alpha=0.0, beta=1.0):.5e}")
    1.56518e-10
    """
    params = {"beta": beta, **_likelihood(alpha)}
    return Request(_ORPO, chosen, rejected, params, called=_PAIR, **options)


class _KTO(Formula):
    name = "kto"
    binary = True

    def __init__(
        self,
        x: Any,
        y: Any,
        ref_logp: Any,
        *,
        beta: Any,
        kl: Any,
        desirable_weight: Any,
        undesirable_weight: Any,
    ) -> None:
        self.xp = xp = namespace(x)
        above, rest = exact_difference(x, ref_logp)
        apart, lost = exact_difference(above, positive_part(xp.zeros_like(x) + kl))
        self.z = beta * (apart + (lost + rest))
        self.s, self.beta = sigmoids(self.z), beta
        self.of_yes, self.of_no = desirable_weight, undesirable_weight
        self.yes, self.no = desirable_weight * y, undesirable_weight * (1 - y)

    def value(self) -> Any:
        return self.yes * self.s.minus + self.no * self.s.plus

    def grad_x(self) -> Any:
        return self.beta * (_bend(self.s) * (self.no - self.yes))

    def grad_y(self) -> Any:
        return self.of_yes * self.s.minus - self.of_no * self.s.plus

    def grad_ref_logp(self) -> Any:
        return -self.grad_x()

    def curvature(self) -> Any:
        lean = self.xp.tanh(0.5 * self.z)
        return self.beta * (self.beta * (_bend(self.s) * (lean * (self.yes - self.no))))

    boosting_curvature = steep

    @classmethod
    def traits(
        cls, *, beta: float, desirable_weight: float, undesirable_weight: float, **_: Any
    ) -> Traits:
        most = max(desirable_weight, undesirable_weight)
        return replace(
            _BOUNDED,
            lipschitz=most * beta / 4,
            smoothness=most * beta * beta / _STEEPEST_BEND,
            range=(0.0, most),
        )


@LossFunction
def kto(
    logp: Array,
    desirable: ArrayLike,
    ref_logp: ArrayLike,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    kl: NonNegative = 0.0,
    undesirable_weight: NonNegative = 1.0,
    **options: Unpack[Options],
) -> Request:
    """Kahneman-Tversky optimization: single answers that are desirable or not, by a reference.

    Parameters
    ----------
    logp
        Log-probabilities of the answers, each the sum over its tokens: `sequence_logprob`.
    desirable
        Targets, 1 for a desirable answer and 0 for another (booleans too), or a number between.
    ref_logp
        Log-probabilities that the reference gives to the same answers; they broadcast to `logp`.
    beta
        How closely the policy is held to the reference, above 0.
    desirable_weight, undesirable_weight
        Factors of the losses of both, at least 0. The mean does not divide by them.
    kl
        How far the policy is from the reference, a constant: the mean of logp - ref_logp over
        answers to other questions. Of an array what is below 0 counts as 0.
    weight, where, reduction, denominator
        As for every loss. `weight` is the weight of each item and `where`, of booleans, says which
        count; both broadcast to the items. `reduction` is "mean" (sum of weight * loss / sum of
        weight), "sum" or "none"; `denominator` is what the mean divides by instead.

    Notes
    -----
    Use for: a model that learns from thumbs up and thumbs down, without pairs.

    Shapes: logp and desirable (...), ref_logp (...) or broadcasting to it; an item is an answer.

    Domain: all real logp and ref_logp. A target outside [0, 1] by more than a few eps is an error
    where it can be seen (`tinyloss.validation`), else NaN for its item.

    Formula: u y s(-z) + v (1 - y) s(z), z = beta (logp - ref_logp - kl), s(z) = 1 / (1 + exp(-z)),
    y = desirable, u and v the weights of both

    Gradient: beta s(z) s(-z) (v (1 - y) - u y) by logp, its opposite by ref_logp; u s(-z) - v s(z)
    by desirable; none by kl. Curvature beta^2 s(z) s(-z) tanh(z / 2) (u y - v (1 - y)), for
    boosting 1 where it is not above 0.

    Accuracy: value 4 eps; gradient 6 eps; curvature 8 eps. All are times 1 + beta (kl +
    |logp - ref_logp|), and of the sum of the terms' sizes.

    Edge cases: where the policy is the reference and kl is 0, half of the weight.

    Source: Ethayarajh et al., KTO: model alignment as prospect theoretic optimization, ICML 2024.

    Elsewhere: TRL `KTOTrainer`.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> logp, ref_logp = np.array([-10.5, -12.0]), np.array([-11.0, -11.25])
    >>> tinyloss.kto(logp, [1, 0], ref_logp, kl=0.5, reduction="none").round(6).tolist()
    [0.5, 0.468791]
    """
    params = {
        "beta": beta,
        "kl": kl,
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
    }
    called = {"x": "logp", "y": "desirable"}
    arrays = {"ref_logp": ref_logp}
    return Request(_KTO, logp, desirable, params, arrays, called=called, **options)


@TokensFunction
def sequence_logprob(
    x: Array,
    y: ArrayLike,
    *,
    ignore_index: ClassIndex = None,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: SequenceReduction = "sum",
) -> Request:
    """Log-probability of each sequence: the sum, or the mean, of those of its tokens.

    What losses of preferences are made of. Its gradient is that of the weighted sum: with the
    gradient of such a loss as `weight`, that by the logits.

    Parameters
    ----------
    x
        Logits of the tokens.
    y
        The tokens, as class indices, with one dimension fewer than x, of any integer dtype. Those
        at a position are by the logits there: nothing is shifted.
    ignore_index
        Tokens with this class index are left out. It need not be a class.
    weight
        What each sequence's log-probability is multiplied by; it broadcasts to the sequences.
    where
        Which tokens count, booleans that broadcast to y: those of the answer, say.
    reduction
        "sum", or "mean": the sum divided by how many tokens of the sequence count.

    Notes
    -----
    Use for: the log-probabilities of answers. Of a last layer whose logits would fill the memory
    `linear_logprobs` gives those of the tokens, to add up.

    Shapes: x (..., T, C); y (..., T); the result (...), a number for each sequence.

    Domain: as for `cross_entropy`.

    Formula: weight * sum_t (x_t,y - log sum_k exp(x_t,k)), over the tokens t that count; "mean":
    that divided by their number

    Gradient: of the sum over all sequences: weight times 1 at a token's class, less softmax(x).

    Accuracy: each token's log-probability 4 eps; gradient 4 eps. The mean adds 2 eps to both.

    Edge cases: 0 for a sequence without a token that counts, in value and gradient. NaN in what is
    left out reaches nothing.

    Source: as for `cross_entropy`.

    Elsewhere: TRL `selective_log_softmax`, of tokens.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> x = np.zeros((2, 3, 4))  # two sequences of three tokens
    >>> y = np.array([[0, 1, 2], [3, -100, -100]])
    >>> tinyloss.sequence_logprob(x, y, ignore_index=-100).round(4).tolist()
    [-4.1589, -1.3863]
    >>> tinyloss.sequence_logprob(x, y, ignore_index=-100, reduction="mean").round(4).tolist()
    [-1.3863, -1.3863]
    """
    return Request(
        None,
        x,
        y,
        labels=LogProbability,
        ignore_index=ignore_index,
        weight=weight,
        where=where,
        reduction=reduction,
        title="sequence_logprob",
    )
