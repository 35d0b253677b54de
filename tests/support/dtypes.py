"""The floating dtypes that losses take."""

from typing import Any

import ml_dtypes
import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(scalar)
    for name, scalar in {
        "float64": np.float64,
        "float32": np.float32,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
    }.items()
}


def compute_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which a loss of arrays of this dtype is computed: at least float32."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)
