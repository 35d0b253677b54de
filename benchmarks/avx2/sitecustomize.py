"""Has the libraries leave AVX-512 out on a processor that has it, as on one that does not.

    PYTHONPATH=benchmarks/avx2 python -m benchmarks.cpu --json benchmarks/results/cpu-avx2.json

Python imports this before anything else, in the processes that a benchmark starts, too.
"""

import os

PROCESSOR = "haswell"
"""LLVM's name of the first one with AVX2."""

os.environ |= {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": PROCESSOR,
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),
}
try:
    import llvmlite.binding as llvm
except ImportError:
    pass
else:
    features = llvm.get_host_cpu_features()
    for name in features:
        features[name] = features[name] and "512" not in name
    llvm.get_host_cpu_name = lambda: PROCESSOR
    llvm.get_host_cpu_features = lambda: features
