"""The examples, loaded from their files."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def loaded(name: str) -> Any:
    """Return an example as a module."""
    path = Path(__file__).parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


digits = loaded("train_digits")
with_torch = loaded("train_torch")
half_precision = loaded("half_precision")
ranking = loaded("ranking")
EPS = float(np.finfo(np.float32).eps)


def first_losses(
    array: str, dtype: str = "float32", loss: str = "cross_entropy"
) -> npt.NDArray[Any]:
    return np.asarray(digits.train(array, loss, dtype, epochs=1).steps[:20])
