"""Errors name the next step: what to write instead of what came."""

from typing import Any

import numpy as np
import pytest

import tinyloss

anyloss: Any = tinyloss
on = pytest.mark.parametrize
X, Y = np.zeros((4, 3)), np.zeros(4, int)
FLAT = np.zeros(4)


def message(*arrays: Any, of: Any = None, **options: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as error:
        of(*arrays, **options)
    text = str(error.value)
    assert text.startswith(f"tinyloss.{of.__name__}: ")
    return text


@on(
    "loss,arrays,options,advice",
    [
        (tinyloss.mse, (FLAT, FLAT[:, None]), {}, "y[:, 0]"),
        (tinyloss.mse, (FLAT[:, None], FLAT), {}, "y[:, None]"),
        (tinyloss.cross_entropy, (X, Y[:, None]), {}, "y[:, 0]"),
        (tinyloss.cross_entropy, (X, Y[:3]), {}, "y fits with axis=0"),
        (tinyloss.cross_entropy, (np.zeros((2, 3, 5)), np.zeros((2, 5), int)), {}, "with axis=1"),
        (tinyloss.cross_entropy, (X, FLAT), {}, "astype"),
        (tinyloss.cross_entropy, (X, Y), {"weight": np.ones(3)}, "class_weight="),
        (tinyloss.mse, (X, X), {"weight": FLAT}, "weight[:, None]"),
        (tinyloss.gaussian_nll, (X, X, FLAT), {}, "var[:, None]"),
        (tinyloss.hinge, (FLAT, Y), {}, "2 * y - 1"),
        (tinyloss.binary_cross_entropy_with_logits, (FLAT, Y - 1), {}, "(y + 1) / 2"),
        (tinyloss.binary_cross_entropy, (FLAT, FLAT + 3), {}, "the prediction comes first"),
        (tinyloss.sigmoid_focal, (Y, FLAT), {}, "a floating prediction first"),
        (tinyloss.cross_entropy, (X, Y - 100), {}, "ignore_index=-100"),
        (tinyloss.cross_entropy, (X, X), {"ignore_index": 1}, "where="),
    ],
)
def test_the_next_step_is_named(loss: Any, arrays: Any, options: Any, advice: str) -> None:
    assert advice in message(*arrays, of=loss, **options)


def test_no_advice_where_none_fits() -> None:
    assert message(X, Y[:2], of=tinyloss.cross_entropy).endswith("for x of shape (4, 3)")
    assert message(FLAT, FLAT[:3], of=tinyloss.mse).endswith("the shape of x")
    text = message(X, X, of=tinyloss.mse, weight=np.ones(2))
    assert text.endswith("(4, 3), the shape of the items")


class TestOneClass:
    @on(
        "loss",
        [tinyloss.cross_entropy, tinyloss.softmax_focal, tinyloss.kl_div_with_logits],
        ids=str,
    )
    def test_a_softmax_of_one_class_warns(self, loss: Any) -> None:
        x = np.zeros((5, 1))
        match = "one class, .*binary_cross_entropy_with_logits"
        with pytest.warns(RuntimeWarning, match=match) as warned:
            assert loss(x, np.ones((5, 1)), reduction="sum") == 0
        assert warned[0].filename == __file__

    def test_under_a_tracer_too(self) -> None:
        jax = pytest.importorskip("jax")
        with pytest.warns(RuntimeWarning, match="one class"):
            jax.jit(tinyloss.cross_entropy)(np.zeros((6, 1)), np.zeros(6, int))

    @on("loss", [tinyloss.nll, tinyloss.kl_div, tinyloss.js_div], ids=str)
    def test_what_one_class_does_not_settle_is_silent(self, loss: Any, recwarn: Any) -> None:
        x = np.full((5, 1), 0.5)
        loss(x, np.zeros(5, int) if loss is tinyloss.nll else x)
        assert not recwarn.list
