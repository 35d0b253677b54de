"""What tests and benchmarks on a GPU share."""

from typing import Any

from tests.support.specs import ACTIVATIONS, EXACT, PAIRED

FUNCTIONS = [each.__name__ for each in ACTIVATIONS]
LISTS = (1, 2, 7, 33, 200, 700, 1100)
"""Lengths of rows whose classes are compared: for each number of threads and blocks."""
ROWS = [name for name, exact in EXACT.items() if exact.rowwise and name not in PAIRED]
CLASSES = (1, 2, 7, 100, 257, 1000, 5003, 32000, 50257, 131072, 262144)
"""Lengths of rows: each way to keep a row has some."""

HOLD_UP = r"""
extern "C" __global__ void hold_up(const long long nanoseconds) {
    long long begin, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
}
"""


def hold_up(cupy: Any) -> Any:
    """Return a kernel that keeps a stream busy for so many nanoseconds."""
    return cupy.RawModule(code=HOLD_UP).get_function("hold_up")
