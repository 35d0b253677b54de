"""A GPU that is none: CuPy's place taken by NumPy's memory and g++.

    cupy_.py        stands in for the module `cupy`: arrays that nobody may look at from the host,
                    and the modules of machine code
    compiler.py     a kernel's source compiled by g++, its signature read, its arguments checked
    cuda.hpp, halves.hpp    what the source needs of CUDA, ahead of it
    runtime.cpp     the threads of a launch as fibers: barriers, shuffles, clusters, bounds

What runs is the backend's own source and launch; what cannot be seen is speed, the order in which a
GPU makes writes visible, and the last bits of its elementary functions.
"""

from tests.support.emulation.compiler import EmulationError, machine
from tests.support.emulation.cupy_ import HostAccessError, emulated_cupy

__all__ = ["EmulationError", "HostAccessError", "emulated_cupy", "machine"]
