"""Losses of preferences: their known values, and what others get wrong."""

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

import tinyloss
from tests.support.libraries import Library
from tinyloss.typing import CPOKind, DPOKind

Array = npt.NDArray[Any]

# Losses are picked by name here, so that their signatures are not known to a type checker.
anyloss: Any = tinyloss
on = pytest.mark.parametrize

EPS = 2.0**-52
PAIR = np.array([-10.5]), np.array([-12.0]), np.array([-11.0]), np.array([-11.25])
BY_CHANCE = 0.046879062662624374

# By mpmath, of formulas of their papers: nobody has published numbers. Value, gradient by chosen
# and by rejected.
KNOWN: dict[str, tuple[dict[str, Any], float, float, float]] = {
    "sigmoid": ({}, 0.63259903531716906624, -BY_CHANCE, BY_CHANCE),
    "conservative": (
        {"label_smoothing": 0.1},
        *(0.64509903531716906624, -0.036879062662624374, 0.036879062662624374),
    ),
    "robust": (
        {"kind": "robust", "label_smoothing": 0.1},
        *(0.61697403531716906624, -0.059379062662624374, 0.059379062662624374),
    ),
    "hinge": ({"kind": "hinge"}, 0.875, -0.1, 0.1),
    "ipo": ({"kind": "ipo"}, 14.0625, -7.5, 7.5),
    "exo": (
        {"kind": "exo_pair", "label_smoothing": 0.001},
        *(2.5476245373245928002, -0.16888330960562156, 0.16888330960562156),
    ),
    "nca": (
        {"kind": "nca_pair"},
        *(1.3558645424333270216, -0.023125390527368448, 0.024062939206073238),
    ),
    "bco": (
        {"kind": "bco_pair"},
        *(1.3248097888400814549, -0.048750260351578966, 0.048125878412146476),
    ),
    "sppo": ({"kind": "sppo_hard"}, 38.3125, -9.0, 8.5),
    "apo zero": (
        {"kind": "apo_zero"},
        *(0.96876138763725441785, -0.024984381508111645, 0.024964876682739414),
    ),
    "apo down": (
        {"kind": "apo_down"},
        *(0.98128802311045408642, 8.1784006749897297e-5, 0.024902597501361747),
    ),
}


def close(got: Any, expected: Any, allowed: float = 8.0) -> None:
    np.testing.assert_allclose(np.ravel(got), np.ravel(expected), rtol=allowed * EPS, atol=0)


@on("name", KNOWN)
def test_dpo_has_the_known_values(name: str) -> None:
    options, value, by_chosen, by_rejected = KNOWN[name]
    got, grads = anyloss.value_and_grad(tinyloss.dpo, (0, 1, 2, 3))(*PAIR, **options)
    close(got, value)
    # apo_down's gradient by chosen is a difference of 300 times its size
    close(grads, [by_chosen, by_rejected, -by_chosen, -by_rejected], 8 + 300 * (name == "apo down"))


def test_ipo_takes_means_over_tokens_as_they_are() -> None:
    means = [each / tokens for each, tokens in zip(PAIR, (5, 6, 5, 6), strict=True)]
    close(anyloss.dpo(*means, kind="ipo"), 22.800625)


def test_kto_has_the_known_values() -> None:
    logp, ref = np.array([-10.5, -12.0]), np.array([-11.0, -11.25])
    value, grads = anyloss.value_and_grad(tinyloss.kto, (0, 2))(
        logp, np.array([True, False]), ref, kl=0.5, reduction="none"
    )
    close(value, [0.5, 0.46879062662624374275])
    close(grads[0], [-0.025, 0.024902597501361747])
    close(grads[1], [0.025, -0.024902597501361747])


def test_orpo_has_the_known_values() -> None:
    chosen, rejected = np.array([-0.75, -1e-9]), np.array([-1.5, -2.0])
    value, grads = anyloss.value_and_grad(tinyloss.orpo, (0, 1))(
        chosen, rejected, alpha=0.0, beta=1.0, reduction="none"
    )
    close(value, [0.27825374070800848189, 1.5651764281567558696e-10])
    close(grads[0], [-0.4603485855610207, -0.15651764288168552])
    close(grads[1], [0.31265895350856613, 1.8101541530375322e-10])
    both = tinyloss.orpo(chosen, rejected, reduction="none")
    close(both, 0.1 * value - chosen)


def test_simpo_and_cpo_have_the_known_values() -> None:
    value, grads = anyloss.value_and_grad(tinyloss.simpo, (0, 1))(
        np.array([-0.75]), np.array([-1.5])
    )
    close(value, 0.31326168751822283405)
    close(grads, [-0.53788284273999024, 0.53788284273999024])
    value, grads = anyloss.value_and_grad(tinyloss.cpo, (0, 1))(*PAIR[:2], alpha=0.0)
    close(value, 0.62095704778953207751)
    close(grads, [-0.046257015465625045, 0.046257015465625045])
    close(tinyloss.cpo(*PAIR[:2]), value + 10.5)


@on("kind", get_args(CPOKind))
def test_cpo_is_dpo_without_references(kind: Any) -> None:
    nothing = np.zeros(1)
    got = tinyloss.cpo(*PAIR[:2], kind=kind, alpha=0.0)
    close(got, tinyloss.dpo(*PAIR[:2], nothing, nothing, kind=kind))


@on("kind", get_args(DPOKind))
def test_a_reference_takes_the_opposite_of_its_policys_gradient(kind: Any) -> None:
    call = anyloss.grad(anyloss.DPOLoss(kind=kind), (0, 1, 2, 3))
    chosen, rejected, ref_chosen, ref_rejected = call(*PAIR)
    assert (ref_chosen, ref_rejected) == (-chosen, -rejected)


def test_references_broadcast() -> None:
    chosen = np.array([[-3.0, -5.0], [-4.0, -8.0]])
    got = anyloss.dpo(chosen, chosen - 1, -4.0, np.array([-6.0, -5.0]), reduction="none")
    wide = np.full((2, 2), -4.0), np.array([[-6.0, -5.0]] * 2)
    np.testing.assert_array_equal(got, anyloss.dpo(chosen, chosen - 1, *wide, reduction="none"))


# ------------------------------------------------------------------------------ faults of others


def test_long_answers_lose_nothing_to_their_length() -> None:
    """In float32 the difference of two differences of thousands would be off by 1e-4."""
    long: Any = np.float32
    chosen, rejected = long([-8192.125]), long([-4096.0625])
    ref_chosen, ref_rejected = long([-0.00012345]), long([-4096.0625])
    loss = anyloss.DPOLoss(kind="ipo", beta=0.5)
    exact = (float(chosen[0]) - float(ref_chosen[0]) - 1.0) ** 2
    np.testing.assert_allclose(
        loss(chosen, rejected, ref_chosen, ref_rejected), exact, rtol=2 * 2.0**-23
    )
    chosen, rejected = long([-8192.0]), long([-4096.0])
    refs = long([-8192.0 + 2**-9]), long([-4096.0 - 2**-11])
    z = (-(2.0**-9) - 2.0**-11) * 0.1
    by_chosen = anyloss.grad(tinyloss.dpo)(chosen, rejected, *refs)
    np.testing.assert_allclose(by_chosen, -0.1 / (1 + np.exp(z)), rtol=4 * 2.0**-23)


def test_log_of_a_sigmoid_is_never_nan() -> None:
    """tinker-cookbook 188: the log of a sigmoid that has underflowed."""
    far = np.array([-1e4]), np.array([0.0])
    for kind in get_args(DPOKind):
        value, grads = anyloss.value_and_grad(tinyloss.dpo, (0, 1))(
            *far, np.zeros(1), np.zeros(1), kind=kind
        )
        assert all(np.isfinite(each).all() for each in (value, *grads)), kind
    close(anyloss.dpo(*far, np.zeros(1), np.zeros(1)), 1000.0)


def test_masked_answers_that_overflow_reach_nothing() -> None:
    """NeMo-RL 4120 and trl 5826: exponentials before the mask, and answers without a token."""
    bad = np.array([-10.5, np.nan, -np.inf, np.inf])
    others = [np.repeat(each, 4) for each in PAIR[1:]]
    where = np.array([True, False, False, False])
    for options in ({"where": where}, {"weight": where.astype(float)}):
        for kind in get_args(DPOKind):
            call = anyloss.value_and_grad(tinyloss.dpo, (0, 1, 2, 3))
            value, grads = call(bad, *others, kind=kind, **options)
            alone, expected = call(*PAIR, kind=kind)
            assert value == alone
            for got, each in zip(grads, expected, strict=True):
                np.testing.assert_array_equal(got, [each[0], 0, 0, 0])


@on("kind", sorted({*get_args(DPOKind)} - {"sigmoid", "robust", "exo_pair"}))
def test_a_share_that_would_be_ignored_is_refused(kind: Any) -> None:
    """trl 7062: a smoothing that changed nothing, unnoticed."""
    with pytest.raises(ValueError, match=rf"^tinyloss\.dpo: label_smoothing is 0\.1 .*'{kind}'"):
        anyloss.dpo(*PAIR, kind=kind, label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing is"):
        anyloss.dpo(*PAIR, kind=kind, label_smoothing=np.array(0.0))
    with pytest.raises(ValueError, match="label_smoothing is"):
        anyloss.DPOLoss(kind=kind, label_smoothing=0.1)


def test_weights_of_kto_change_the_loss_and_not_the_mean() -> None:
    """trl 7062: weights of the two sides that changed nothing."""
    logp, ref = np.array([-10.5, -12.0]), np.array([-11.0, -11.25])
    items = anyloss.kto(logp, [1, 0], ref, reduction="none")
    got = anyloss.kto(logp, [1, 0], ref, desirable_weight=3.0, undesirable_weight=0.5)
    close(got, (3 * items[0] + 0.5 * items[1]) / 2)


def test_odds_near_certainty_are_finite_and_exact() -> None:
    """log1p(-exp(x)) is -inf from x = -1e-17 on; the odds there are 1 / 1e-17."""
    chosen, rejected = np.array([-1e-300, -1e-20, -1e-17]), np.full(3, -1.0)
    value, by_chosen = anyloss.value_and_grad(tinyloss.orpo)(
        chosen, rejected, alpha=0.0, beta=1.0, reduction="none"
    )
    ratio = np.exp(-1.0) / -np.expm1(-1.0)
    close(value, -chosen * ratio)
    close(by_chosen, [-ratio] * 3)
    value, by_rejected = anyloss.value_and_grad(tinyloss.orpo, 1)(
        rejected, chosen, alpha=0.0, beta=1.0, reduction="none"
    )
    close(value, 1 + np.log(-np.expm1(-1.0)) - np.log(-chosen))
    close(by_rejected, -1 / chosen)


def test_forms_of_trl_that_cancel() -> None:
    """1 - sigmoid is 0 from 37 on, where the loss is exp(-z)."""
    z = np.array([400.0, 3000.0])
    value = anyloss.kto(z, np.ones(2), np.zeros(2), reduction="none")
    close(value, np.exp(-0.1 * z), 512)
    zero = np.zeros(2)
    value = anyloss.dpo(z, -z, zero, zero, kind="apo_zero", reduction="none")
    close(value, 2 * np.exp(-0.1 * z), 512)


# ---------------------------------------------------------------------------------------- edges


def test_answers_that_cannot_be() -> None:
    inf = np.array([np.inf])
    zero = np.zeros(1)
    value, by_chosen = anyloss.value_and_grad(tinyloss.dpo)(zero, -inf, zero, zero)
    assert (value, by_chosen.item()) == (0, 0)
    value, by_chosen = anyloss.value_and_grad(tinyloss.dpo)(-inf, zero, zero, zero)
    assert (value, by_chosen.item()) == (np.inf, -0.1)
    assert np.isnan(anyloss.dpo(-inf, -inf, zero, zero))
    value, by_chosen = anyloss.value_and_grad(tinyloss.orpo)(zero, zero - 1, beta=1.0)
    ratio = np.exp(-1.0) / -np.expm1(-1.0)
    assert value == 0
    close(by_chosen, -1 - ratio)
    assert anyloss.orpo(zero - 1, zero) == np.inf
    assert np.isnan(anyloss.orpo(zero, zero))
    assert np.isnan(anyloss.orpo(zero + 1, zero - 1))


def test_the_kink_of_the_hinge_has_no_slope() -> None:
    zero = np.zeros(1)
    assert anyloss.grad(tinyloss.dpo)(np.ones(1), zero, zero, zero, beta=1.0, kind="hinge") == 0


def test_exo_without_a_share_takes_its_authors() -> None:
    given = anyloss.dpo(*PAIR, kind="exo_pair", label_smoothing=1e-3)
    assert anyloss.dpo(*PAIR, kind="exo_pair") == given


def test_kl_below_0_of_an_array_counts_as_0(xp: Library) -> None:
    arrays = [xp.asarray(each, "float64") for each in (PAIR[0], np.ones(1), PAIR[2])]
    below = xp.call(anyloss.kto, *arrays, kl=xp.asarray(np.array(-0.5), "float64"))
    assert xp.numpy(below) == xp.numpy(xp.call(anyloss.kto, *arrays))
    with pytest.raises(ValueError, match=r"^tinyloss\.kto: kl is -0\.5"):
        anyloss.kto(*arrays, kl=-0.5)


# --------------------------------------------------------------------------------------- messages


def test_messages_call_the_arrays_by_their_names() -> None:
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match=r"^tinyloss\.dpo: rejected has shape .*shape of chosen$"):
        anyloss.dpo(two, one, two, two)
    with pytest.raises(ValueError, match=r"^tinyloss\.dpo: ref_chosen has shape .*chosen's \(2,\)"):
        anyloss.dpo(two, two, np.zeros(3), two)
    with pytest.raises(TypeError, match=r"^tinyloss\.simpo: chosen: got a list"):
        anyloss.simpo([1.0], one)
    with pytest.raises(ValueError, match=r"^tinyloss\.kto: desirable\[0\] is 2\.0, expected a tar"):
        anyloss.kto(one, one + 2, one)
    with pytest.raises(ValueError, match=r"^tinyloss\.dpo: ref_chosen has shape \(\), expected"):
        anyloss.grad(tinyloss.dpo, 2)(two, two, np.array(0.0), two)


def test_kinds_and_shares_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^tinyloss\.dpo: kind is 'sft', expected 'sigmoid', "):
        anyloss.dpo(*PAIR, kind="sft")
    with pytest.raises(ValueError, match=r"^tinyloss\.cpo: kind is 'robust', expected 'sigmoid', "):
        anyloss.cpo(*PAIR[:2], kind="robust")
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.5 .* from 0\.0 to below 0\.5"):
        anyloss.dpo(*PAIR, kind="robust", label_smoothing=0.5)


# -------------------------------------------------------------------------------------- sequences


def tokens() -> tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 5, (2, 3, 4))
    where = rng.uniform(size=y.shape) < 0.6
    where[0, 1] = False
    return x, y, where


def by_hand(x: Array, y: Any, where: Any, mean: bool) -> tuple[Array, Array, Array]:
    """Return the log-probabilities of sequences, and their derivatives for a weight of 1."""
    p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    one = np.arange(x.shape[-1]) == y[..., None]
    count = np.maximum(where.sum(axis=-1), 1) if mean else np.ones(y.shape[:-1])
    share = where[..., None] / count[..., None, None]
    logs = np.log((p * one).sum(axis=-1)) * share[..., 0]
    return logs.sum(axis=-1), (one - p) * share, -p * (1 - p) * share


@on("reduction", ["sum", "mean"])
def test_a_sequence_has_the_logs_of_its_tokens(reduction: Any, xp: Library) -> None:
    x, y, where = tokens()
    value, slope, bend = by_hand(x, y, where, reduction == "mean")
    own, labels = xp.asarray(x, "float64"), xp.asarray(y)
    weight = np.arange(6.0).reshape(2, 3)

    def compare(got: Any, expected: Array) -> None:
        bound = 64 * np.finfo(got.dtype).eps
        np.testing.assert_allclose(got, expected, rtol=bound, atol=bound)

    for options in ({}, {"weight": xp.asarray(weight, "float64")}):
        factor = weight if options else np.ones((2, 3))
        call = anyloss.value_and_grad(tinyloss.sequence_logprob)
        chosen: Any = {"where": xp.asarray(where), "reduction": reduction, **options}
        got, grad = xp.fetch(xp.call(call, own, labels, **chosen))
        compare(got, factor * value)
        compare(grad, factor[..., None, None] * slope)
        both = xp.call(anyloss.grad_and_hess(tinyloss.sequence_logprob), own, labels, **chosen)
        compare(xp.fetch(both)[1], factor[..., None, None] * bend)


def test_an_ignored_token_is_no_token() -> None:
    x, y, where = tokens()
    x[~where] = np.nan
    marked = np.where(where, y, -100)
    for reduction in ("sum", "mean"):
        call = anyloss.value_and_grad(tinyloss.sequence_logprob)
        value, grad = call(x, y, where=where, reduction=reduction)
        other, same = call(x, marked, ignore_index=-100, reduction=reduction)
        np.testing.assert_array_equal(value, other)
        np.testing.assert_array_equal(grad, same)
        assert value[0, 1] == 0
        assert np.isfinite(grad).all()
        assert not grad[~where].any()


def test_of_linear_logprobs_sequences_are_sums() -> None:
    rng = np.random.default_rng(1)
    h, w = rng.normal(size=(2, 3, 8)), rng.normal(size=(5, 8))
    y, where = rng.integers(0, 5, (2, 3)), np.array([[True, True, False], [True, False, False]])
    of_tokens = tinyloss.linear_logprobs(h, w, y, where=where).sum(axis=-1)
    of_logits = tinyloss.sequence_logprob(h @ w.T, y, where=where)
    np.testing.assert_allclose(of_tokens, of_logits, rtol=16 * EPS)


def policy_gradient() -> tuple[Any, tuple[Any, ...], Array]:
    """Return a loss of the logits of pairs, what it takes besides, and its gradient.

    By the rule: the gradient of the preference is the weight of the sequences.
    """
    x, y, where = tokens()
    refs = np.full(3, -4.0), np.full(3, -5.0)
    slopes = anyloss.grad(tinyloss.dpo, (0, 1))(*anyloss.sequence_logprob(x, y, where=where), *refs)
    expected = anyloss.grad(tinyloss.sequence_logprob)(x, y, where=where, weight=np.stack(slopes))

    def loss(x: Any, y: Any, where: Any, *refs: Any) -> Any:
        chosen, rejected = anyloss.sequence_logprob(x, y, where=where)
        return anyloss.dpo(chosen, rejected, *refs)

    return loss, (x, y, where, *refs), expected


def test_torch_differentiates_through_sequences(torch: Any) -> None:
    loss, arrays, expected = policy_gradient()
    x, *others = map(torch.asarray, arrays)
    loss(x.requires_grad_(), *others).backward()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=64 * EPS, atol=EPS)


def test_jax_differentiates_through_sequences(jax: Any) -> None:
    loss, arrays, expected = policy_gradient()
    for make in (jax.grad(loss), jax.jit(jax.grad(loss))):
        got = make(*map(jax.numpy.asarray, arrays))
        np.testing.assert_allclose(got, expected, rtol=64 * EPS, atol=EPS)


def test_what_no_sequence_is() -> None:
    x, y, _ = tokens()
    with pytest.raises(ValueError, match=r"^tinyloss\.sequence_logprob: reduction is 'none'"):
        anyloss.sequence_logprob(x, y, reduction="none")
    with pytest.raises(ValueError, match=r"^tinyloss\.sequence_logprob: y has shape \(2, 3\)"):
        anyloss.sequence_logprob(x, y[..., 0])
    with pytest.raises(ValueError, match=r"^tinyloss\.sequence_logprob: y is 0-d"):
        anyloss.sequence_logprob(x[0, 0, 0], y[0, 0, 0])
    with pytest.raises(ValueError, match=r"^tinyloss\.sequence_logprob: y\[0, 0, 0\] is 7"):
        anyloss.sequence_logprob(x, y + 7 - y[0, 0, 0])
    with pytest.raises(TypeError, match=r"^tinyloss\.sequence_logprob: y has dtype float64"):
        anyloss.sequence_logprob(x, y.astype(float))
