"""CUDA kernels of losses, for any array library on NVIDIA's GPUs.

programs        from a job to its kernels: recorded, planned, written
plans           sizes, launch and steps of a kernel, from how the arrays lie
source          the text of a kernel        *.cu, prelude.cuh   the templates
"""
