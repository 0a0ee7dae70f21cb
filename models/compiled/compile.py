"""The decorator that compiles a kernel with numba and keeps the types of the plain function."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compile_kernel(*, fastmath: Collection[str] = ()) -> Callable[[Kernel], Kernel]:
    """Compile a function at its first call, or load it from the cache; it holds no GIL.

    `fastmath`: the LLVM flags under which float arithmetic may be reordered; by default none, so
    that every result is that of the written order.
    """

    def decorate(function: Kernel) -> Kernel:
        compiled = numba.njit(function, cache=True, nogil=True, fastmath=set(fastmath))
        return cast(Kernel, compiled)

    return decorate
