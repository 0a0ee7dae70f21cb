"""Compiled kernels: loops over the candidates of one visitor, each beside its plain numpy twin.

The twin of `kernel` is `kernel_numpy`, in the same module. It says in a few lines what the kernel
computes; the tests compare the two on random inputs, and

    python -m tests.benchmarks.kernels

prints the time of both. The docstring of each kernel states its gain from that command, as a share
of an answer of 1 ms. A kernel that saves less than 2 % of an answer is replaced by its twin.

A kernel calls only kernels of its own module: numba's cache beside the source (`NUMBA_CACHE_DIR`)
is renewed when the module changes, not when another one does.
"""
