"""Keras trains with our losses as with its own, on JAX and on torch: a process for each."""

from typing import Any

import pytest

from tests.support.process import python

PROGRAM = """
    import warnings
    import keras, numpy as np, tinyloss
    from tinyloss.adapters.keras import Loss

    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(128, 8)).astype("float32"), rng.integers(0, 3, 128)
    weight = rng.uniform(0.2, 2, 128).astype("float32")

    def fit(loss, y, outputs=3, **options):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(outputs)])
        model.compile("adam", loss=loss, **options)
        history = model.fit(x, y, sample_weight=weight, epochs=2, batch_size=64, verbose=0)
        return np.array(history.history["loss"]), model

    def alike(ours, own):
        np.testing.assert_allclose(ours, own, rtol=1e-6)

    # as of Keras's own, with weights
    own = keras.losses
    expected = fit(own.SparseCategoricalCrossentropy(from_logits=True), k)[0]
    alike(fit(Loss(tinyloss.cross_entropy), k)[0], expected)
    alike(fit(Loss(tinyloss.CrossEntropyLoss()), k[:, None])[0], expected)
    alike(fit(Loss(tinyloss.huber), x[:, :3])[0], fit(own.Huber(), x[:, :3])[0])
    logistic = own.BinaryCrossentropy(from_logits=True)
    alike(fit(Loss(tinyloss.BCEWithLogitsLoss()), k > 0, 1)[0], fit(logistic, k > 0, 1)[0])
    alike(fit(Loss(tinyloss.hinge), k > 0, 1)[0], fit(own.Hinge(), 2 * (k > 0) - 1, 1)[0])

    # targets keep their meaning: no float16 holds this class index
    many = np.zeros((1, 4000), "float16")
    many[0, 2049] = 10
    value = Loss(tinyloss.cross_entropy, dtype="float16")(np.array([2049]), many)
    assert float(value) < 0.2, value

    # masks and reductions are Keras's
    pair = np.zeros((2, 3)), np.ones((2, 3))
    total = own.MeanSquaredError(reduction="sum")(*pair)
    alike(float(Loss(tinyloss.mse, reduction="sum")(*pair)), float(total))
    alike(np.asarray(Loss(tinyloss.mse, reduction=None)(*pair)), [1, 1])

    # configurations
    both = 0.7 * tinyloss.CrossEntropyLoss(class_weight=[1, 2, 0.5]) + tinyloss.SoftmaxFocalLoss()
    for loss in (both, tinyloss.mse, tinyloss.QuantileLoss(q=0.9)):
        made = Loss(loss, reduction="sum", name="mine")
        again = own.deserialize(own.serialize(made))
        assert again.loss == loss and again.get_config() == made.get_config()
        assert again.name == "mine" and again.reduction == "sum"
    model = fit(Loss(both), k)[1]
    model.save("model.keras")
    loaded = keras.models.load_model("model.keras")
    assert loaded.loss.loss == both
    alike(loaded.evaluate(x, k, verbose=0), model.evaluate(x, k, verbose=0))

    for wrong, error, words in (
        (lambda: Loss(len), TypeError, "expected a loss"),
        (lambda: Loss(tinyloss.loss(lambda x, y: x - y)).get_config(), ValueError, "of your own"),
    ):
        try:
            wrong()
        except error as e:
            assert words in str(e), e
        else:
            raise AssertionError(words)
    print(keras.config.backend(), "ok")
"""


@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_trains_alike(backend: str, tmp_path: Any) -> None:
    pytest.importorskip(backend)
    pytest.importorskip("h5py")  # what Keras saves by; Keras itself looks for its backend at import
    assert python(PROGRAM, cwd=tmp_path, KERAS_BACKEND=backend).split() == [backend, "ok"]
