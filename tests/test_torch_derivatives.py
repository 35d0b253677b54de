"""torch's derivatives of every loss, of first and second order, by all of torch's means."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyloss
from tests.support.cases import CASES, FEW_CASES, Case, few_cases, weight_and_mask

# Of its own, when vmap first loads its decompositions.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

anyloss: Any = tinyloss


def drawn(torch: Any, case: Case) -> tuple[list[Any], dict[str, Any]]:
    """Return the arrays and options of a case as tensors of float64."""

    def tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        own = torch.asarray(np.array(value))
        return own.double() if own.is_floating_point() else own

    return [*map(tensor, case.arrays)], {name: tensor(v) for name, v in case.options.items()}


def moving(torch: Any, case: Case) -> tuple[Callable[..., Any], list[Any]]:
    """Return the loss as a function of what it is differentiated by, and these tensors.

    Besides the arguments with closed forms that is the weight. A target that may be ignored is
    compared with a number: near that, the loss jumps.
    """
    arrays, options = drawn(torch, case)
    weight = torch.asarray(weight_and_mask(case)[0]).double()
    places = [each for each in case.argnums if each != 1 or "ignore_index" not in options]

    def loss(*moved: Any, reduction: str = "mean") -> Any:
        whole = list(arrays)
        for place, array in zip(places, moved, strict=False):
            whole[place] = array
        return case.loss(*whole, **options, weight=moved[-1], reduction=reduction)

    return loss, [*[arrays[place] for place in places], weight]


# How items are put together is the same for all losses: only a few are tried with the mean.
@pytest.mark.parametrize(
    ("case", "reduction"),
    [
        pytest.param(
            case,
            reduction,
            id=f"{case.name}-{reduction}",
            marks=() if case in FEW_CASES else pytest.mark.long,
        )
        for case in CASES
        for reduction in (["mean", "none"] if case in FEW_CASES else ["none"])
    ],
)
@pytest.mark.heavy(40)
def test_first_and_second_derivatives_are_those_of_differences(
    torch: Any, case: Case, reduction: str
) -> None:
    loss, tensors = moving(torch, case)
    tensors = [each.requires_grad_() for each in tensors]

    def of(*moved: Any) -> Any:
        return loss(*moved, reduction=reduction)

    assert torch.autograd.gradcheck(of, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(of, tensors)


@few_cases
def test_function_transforms_agree_with_backward(torch: Any, case: Case) -> None:
    loss, tensors = moving(torch, case)
    places = tuple(range(len(tensors)))
    tracked = [each.clone().requires_grad_() for each in tensors]
    loss(*tracked).backward()
    expected = [each.grad for each in tracked]
    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd):
        for got, want in zip(transform(loss, places)(*tensors), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


@few_cases
def test_hessians_agree_however_they_are_nested(torch: Any, case: Case) -> None:
    loss, tensors = moving(torch, case)
    expected = torch.autograd.functional.hessian(lambda x: loss(x, *tensors[1:]), tensors[0])
    assert expected.isfinite().all()
    f = torch.func
    for outer, inner in ((f.jacfwd, f.jacrev), (f.jacrev, f.jacrev), (f.jacrev, f.jacfwd)):
        got = outer(inner(loss))(*tensors)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@few_cases
def test_a_mapped_loss_is_the_loss_of_each_member(torch: Any, case: Case) -> None:
    arrays, options = drawn(torch, case)
    members = [torch.stack([each, each.flip(0)], -1) for each in arrays]
    dims = tuple([-1] * len(members))

    def of(*each: Any) -> Any:
        return case.loss(*each, **options)

    def slope(*each: Any) -> Any:
        return torch.func.grad(of)(*each)

    for function in (of, slope):
        got = torch.func.vmap(function, dims)(*members)
        for k, one in enumerate(got):
            want = function(*[each[..., k] for each in members])
            torch.testing.assert_close(one, want, rtol=1e-12, atol=1e-13)
    # and with only the prediction mapped
    only = torch.func.vmap(lambda x: of(x, *arrays[1:]))(torch.stack([arrays[0]] * 3))
    torch.testing.assert_close(only, of(*arrays).expand(3), rtol=1e-12, atol=1e-13)


def test_wide_parameters_are_mapped_beside_narrow_tensors(torch: Any) -> None:
    x, numbers = torch.tensor([2.0]), torch.tensor([0.25, 1e300], dtype=torch.float64)
    got = torch.func.vmap(lambda delta: anyloss.huber(x, 0 * x, delta=delta))(numbers)
    assert got.tolist() == [0.46875, 2.0]


def test_parameters_are_mapped_and_differentiated(torch: Any) -> None:
    x, y = torch.linspace(-3, 3, 8).double().reshape(4, 2), torch.zeros(4, 2).double()
    numbers = torch.tensor([0.5, 1.0, 1.5, 2.5], dtype=torch.float64)

    def of(x: Any, delta: Any) -> Any:
        return anyloss.huber(x, y[0], delta=delta)

    def slope(x: Any, delta: Any) -> Any:
        return torch.func.grad(of)(x, delta)

    for function in (of, slope):
        got = torch.func.vmap(function)(x, numbers)
        each = [function(*pair) for pair in zip(x, numbers, strict=True)]
        torch.testing.assert_close(got, torch.stack(each))
    own = [x.requires_grad_(), numbers.requires_grad_()]
    assert torch.autograd.gradcheck(lambda x, n: torch.func.vmap(of)(x, n), own)


def test_every_case_is_differentiated() -> None:
    assert len(CASES) > 20
