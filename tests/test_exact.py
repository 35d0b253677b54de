"""The truth is the derivative of the definition: by central differences, to many digits."""

from itertools import islice

import numpy as np
import pytest

from tests.support.calls import Call
from tests.support.exact import central_differences, items
from tests.support.jets import mp
from tests.support.specs import SPECS

ITEMS = 3

# Differences are good to about 80 digits of the value; a derivative near 0 has fewer.
CLOSE = mp.mpf("1e-60")

CASES = [
    pytest.param(loss, call, id=f"{loss}-{number}")
    for loss, spec in SPECS.items()
    for number, call in enumerate(spec.calls)
]


@pytest.mark.parametrize(("loss", "call"), CASES)
def test_truth_is_the_derivative_of_the_definition(loss: str, call: Call) -> None:
    exact, rng = SPECS[loss].definition, np.random.default_rng(0)
    arrays, parameters = [draw(rng) for draw in call.arrays], dict(call.options)
    axis, rank = parameters.pop("axis", -1), arrays[0].ndim
    x, y, *var = [np.moveaxis(a, axis, -1) if a.ndim == rank else a for a in arrays]
    for args, given in islice(items(loss, x, y, *var, **parameters), ITEMS):
        expected = central_differences(loss, args, given)
        with mp.workprec(400):
            truth = exact.item(*args, **given)
        assert {"x", "curvature"} <= expected.keys()
        for name, derivative in expected.items():
            if name == "y" and args[1] == given.get("ignore_index"):
                continue  # a target beside it counts
            pairs = zip(*[np.atleast_1d(each) for each in (derivative, truth[name])], strict=True)
            with mp.workprec(400):
                for difference, number in pairs:
                    if number is None:  # no convention settles it
                        continue
                    assert abs(difference - number) <= CLOSE * max(abs(number), 1), name
