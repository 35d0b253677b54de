"""tinyloss on torch's tensors.

Tensors of the CPU are answered by NumPy's kernels in their own memory, those of CUDA by CuPy's
where CuPy is installed. Everywhere else, and where torch traces or transforms, the formulas run in
torch. Autograd meets closed-form derivatives in all of them.

    prepare         what decides between the two, for one kind of job
    _state          what torch is doing
    _memory         tensors as NumPy's arrays of the same memory
    _kernels        jobs computed by kernels, if these reach the tensors
    _host           by NumPy's backend, on the CPU
    _device         by CuPy's backend, on CUDA's devices
    _fused          a job computed so, with the rule that differentiates it
    _rules          a part of a loss, item by item, with the rules that differentiate it
    _formulas       a job answered by such parts
    _products       losses of scores that are products, with the rule for autograd
    _sequences      losses of sequences, with the same

torch is imported when the first of its tensors is met, not before.
"""

from typing import Any

LOOKS = True
"""Targets are looked at here: by NumPy's kernels, or before the formulas run."""

BOTH_WAYS = True
"""Losses of rows and columns are answered from the same scores."""


def __getattr__(name: str) -> Any:
    if name in ("halved", "halves", "indices", "multiply", "product_memory", "products"):
        from tinyloss_torch import _products

        return getattr(_products, name)
    if name in ("along", "sequences", "untraced"):
        from tinyloss_torch import _sequences

        return getattr(_sequences, name)
    if name == "extent":
        from tinyloss_torch import _kernels

        return _kernels.extent_of
    if name not in ("layout", "prepare", "traced"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinyloss_torch import _run

    return getattr(_run, name)
