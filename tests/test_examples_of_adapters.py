"""The short examples train, and end where the other library's own objective does."""

import pytest

from tests.support.example import loaded
from tests.support.process import ROOT, python

SHORT = (
    "boost_xgboost", "boost_lightgbm", "minimize_scipy", "select_sklearn", "train_keras",
    "train_flax", "train_optax",
)  # fmt: skip
EPS = 2.0**-23


@pytest.mark.parametrize("name", SHORT)
def test_an_example_fits_on_a_screen(name: str) -> None:
    lines = (ROOT / "examples" / f"{name}.py").read_text("utf-8").splitlines()
    assert len(lines) < 40


def test_xgboost_reads_digits_as_by_its_own() -> None:
    pytest.importorskip("xgboost")
    assert loaded("boost_xgboost").main(rounds=3) < 1e-5


def test_lightgbm_bounds_nine_in_ten() -> None:
    pytest.importorskip("lightgbm")
    apart, below = loaded("boost_lightgbm").main()
    assert apart < 1e-5
    assert abs(below - 0.9) < 0.02


def test_scipy_ends_where_scikit_learn_does() -> None:
    pytest.importorskip("sklearn")
    ends = loaded("minimize_scipy").main()
    assert max(ends.values()) - min(ends.values()) < 1e-7


def test_scikit_learn_chooses_a_robust_loss() -> None:
    pytest.importorskip("sklearn")
    chosen, errors = loaded("select_sklearn").main()
    assert "MSE" not in chosen
    assert errors[chosen] < errors["scikit-learn's Ridge"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["train_flax", "train_optax"])
def test_jaxs_optimizers_end_where_optaxs_loss_does(name: str) -> None:
    pytest.importorskip("flax" if name == "train_flax" else "optax")
    ours, own = loaded(name).main()
    # Gradients differ by roundings, which every step passes on.
    assert abs(ours - own) < 256 * EPS * own


@pytest.mark.long
def test_keras_has_the_epochs_of_its_own_loss() -> None:
    pytest.importorskip("h5py")
    out = python(str(ROOT / "examples" / "train_keras.py"), "", KERAS_BACKEND="jax")
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert abs(float(line[2]) - float(line[5])) < 1e-5
