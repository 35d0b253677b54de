"""Losses as losses of Keras 3, on its backends JAX and torch."""

import copy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import keras as _typed_keras

import tinyloss

__all__ = ["Loss"]

# Typed as Any: what it exports is found out at run time.
keras: Any = _typed_keras
_Base: Any = keras.losses.Loss
_replace: Any = replace


@keras.saving.register_keras_serializable(package="tinyloss")
class Loss(_Base):
    """A loss of this package as one of Keras: `model.compile(loss=Loss(tinyloss.mse))`.

    Targets keep their dtype: class indices stay integers, and booleans stand for -1 and 1 in a
    margin loss. Those with a last dimension of 1 beside scores of classes are taken. Weights,
    masks and the reduction are Keras's. As of Keras's own, the loss of elements of a row is their
    mean.

    Parameters
    ----------
    loss
        A loss of this package: a function or an object, whose own reduction is not used.
    reduction, name, dtype
        As for every loss of Keras.

    Examples
    --------
    >>> import numpy as np, tinyloss
    >>> from tinyloss.adapters.keras import Loss
    >>> loss = Loss(tinyloss.CrossEntropyLoss(label_smoothing=0.1))
    >>> round(float(loss(np.array([1, 0]), np.zeros((2, 3)))), 4)
    1.0986
    """

    def __init__(
        self,
        loss: Any,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if keras.config.backend() not in ("jax", "torch", "numpy"):
            raise ValueError(
                f"tinyloss.adapters.keras.Loss: Keras's backend is {keras.config.backend()}, "
                "expected jax or torch: set KERAS_BACKEND before Keras is imported"
            )
        if isinstance(loss, dict):
            loss = _made(loss)
        tinyloss.grad(loss)  # refuses what is no loss
        super().__init__(name or _name(loss), reduction, dtype)
        self.loss = loss
        self._items = _unreduced(loss)
        self._target: Any = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss, reduced."""
        # Keras would make floats of targets: they come another way, in an object of this call.
        held = copy.copy(self)
        held._target = y_true
        return _Base.__call__(held, y_pred, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row."""
        y = keras.ops.convert_to_tensor(y_true if self._target is None else self._target)
        missing = len(y_pred.shape) - len(y.shape)
        if self.loss.takes_labels():
            if missing == 0 and y.shape[-1] == 1 != y_pred.shape[-1]:
                y = y[..., 0]
        elif missing == 1 and y_pred.shape[-1] == 1:
            y = y[..., None]
        items = self._items(y_pred, y)
        of_elements = len(items.shape) == len(y_pred.shape) > 1
        return keras.ops.mean(items, axis=-1) if of_elements else items

    def get_config(self) -> dict[str, Any]:
        """Return what the loss is made of, as plain numbers and words."""
        return {**super().get_config(), "loss": _described(self.loss)}


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _unreduced(loss: Any) -> Any:
    if isinstance(loss, tinyloss.WeightedSum):
        return tinyloss.WeightedSum(tuple([(f, _unreduced(each)) for f, each in loss.terms]))
    made: Any = _replace if is_dataclass(loss) else partial
    return made(loss, reduction="none")


def _described(loss: Any) -> dict[str, Any]:
    """Return a loss as plain numbers and words."""
    if isinstance(loss, tinyloss.WeightedSum):
        return {"terms": [[factor, _described(each)] for factor, each in loss.terms]}
    if getattr(tinyloss, _name(loss), None) not in (loss, type(loss)):
        raise ValueError(
            f"tinyloss.adapters.keras.Loss: {loss!r} is a loss of your own, which has no "
            "configuration, expected one of tinyloss: save the weights alone, or the model "
            "without its loss"
        )
    if not is_dataclass(loss):
        return {"name": _name(loss)}
    given = {each.name: getattr(loss, each.name) for each in fields(loss)}
    return {"name": _name(loss), "parameters": given}


def _made(described: dict[str, Any]) -> Any:
    """Return the loss of a description."""
    if "terms" in described:
        terms = [(factor, _made(each)) for factor, each in described["terms"]]
        return tinyloss.WeightedSum(tuple(terms))
    loss = getattr(tinyloss, described["name"])
    return loss(**described["parameters"]) if "parameters" in described else loss
