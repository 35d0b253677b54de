"""Jobs answered by the formulas in torch."""

from collections.abc import Mapping
from typing import Any

import torch

from tinyloss.backend import Answer, Job, astype, delivered, finished, scaled, widest_dtype
from tinyloss_torch._rules import Part, part_of


def answer(job: Job) -> Answer:
    """Answer a job by parts that know their derivatives; the rest is lines for autograd."""
    xp, kind = job.xp, job.kind
    numbers: Mapping[str, Any] = job.numbers
    if torch.compiler.is_compiling():  # a number of the graph's caller may be known to nobody yet
        # As Python's numbers: 1 - q is exact before it meets x, whose dtype it takes.
        x = job.arrays["x"]
        at = {"dtype": widest_dtype(xp, x) if x.ndim else kind.dtype, "device": x.device}
        numbers = {name: torch.full((), number, **at) for name, number in numbers.items()}
    names = tuple([name for name, *_ in kind.arguments])
    arrays = {
        name: job.arrays[name] if role.keeps_dtype else astype(xp, job.arrays[name], kind.dtype)
        for name, _, role in kind.arguments
    }

    def parts_of(arrays: Mapping[str, Any]) -> Answer:
        tensors = [arrays[name] for name in names]

        def part(name: str) -> Any:
            return part_of(Part(kind, name, names, numbers), *tensors)

        return Answer(
            part("value") if kind.value else None,
            tuple([part(f"grad_{name}") for name in kind.grads]),
            part("curvature") if kind.curvature else None,
        )

    parts = scaled(kind, arrays, job.weight, job.divisor, parts_of)
    return delivered(finished(job, parts), job.out)
