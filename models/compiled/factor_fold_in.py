"""The factors of a new user under implicit ALS, from the factors of the items bought."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from models.compiled.compile import compile_kernel

_SMALL_RESIDUAL = 1e-10  # squared residual at which the iteration ends, against that of its start


def fold_in_user_numpy(
    factors: Float32Array,
    rows: Int64Array,
    gram: Float32Array,
    inverse: Float32Array,  # noqa: ARG001 - the same signature as the kernel
    alpha: np.float32,
) -> Float32Array:
    """Solve the same equations directly, in float64."""
    bought = factors[rows].astype(np.float64)
    system = gram + (float(alpha) - 1.0) * bought.T @ bought
    return np.linalg.solve(system, float(alpha) * bought.sum(0)).astype(np.float32)


@compile_kernel(fastmath={"reassoc", "contract"})
def _dot(left: Float32Array, right: Float32Array) -> np.float32:
    total = np.float32(0)
    for factor in range(len(left)):
        total += left[factor] * right[factor]
    return total


@compile_kernel(fastmath={"reassoc", "contract"})
def fold_in_user(
    factors: Float32Array,
    rows: Int64Array,
    gram: Float32Array,
    inverse: Float32Array,
    alpha: np.float32,
) -> Float32Array:
    """Return the factors (factors,) of a user who bought the items at `rows` of `factors`.

    They solve equation 4 of Hu, Koren and Volinsky (ICDM 2008), in which a purchase has confidence
    `alpha` and all else 1, by conjugate gradients. No matrix of the user's own is made (Takács,
    Pilászy and Tikk, Applications of the conjugate gradient method for implicit feedback
    collaborative filtering, RecSys 2011).

    gram      (factors, factors), factors' factors plus the ridge penalty
    inverse   of `gram`: it would solve the equations of a user who bought nothing; as a
              preconditioner it halves the steps

    35 µs against 190 of numpy: 15 % of an answer.
    """
    n = factors.shape[1]
    bought = np.empty((len(rows), n), factors.dtype)
    user, residual, image = (
        np.zeros(n, factors.dtype),
        np.zeros(n, factors.dtype),
        np.empty(n, factors.dtype),
    )
    for row in range(len(rows)):
        for factor in range(n):
            bought[row, factor] = factors[rows[row], factor]
            residual[factor] += alpha * bought[row, factor]
    start = left = _dot(residual, residual)
    direction, before = np.zeros(n, factors.dtype), np.float32(1)
    for _ in range(2 * n):
        if left <= _SMALL_RESIDUAL * start:
            break
        for factor in range(n):
            image[factor] = _dot(inverse[factor], residual)
        along = _dot(residual, image)
        for factor in range(n):
            direction[factor] = image[factor] + (along / before) * direction[factor]
        for factor in range(n):
            image[factor] = _dot(gram[factor], direction)
        for row in range(len(rows)):
            weight = (alpha - np.float32(1)) * _dot(bought[row], direction)
            for factor in range(n):
                image[factor] += weight * bought[row, factor]
        step = along / _dot(direction, image)
        for factor in range(n):
            user[factor] += step * direction[factor]
            residual[factor] -= step * image[factor]
        before, left = along, _dot(residual, residual)
    return user
