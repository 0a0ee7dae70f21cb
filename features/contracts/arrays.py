"""The names of numpy array types: one alias per element type, for the whole project."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
DatetimeArray: TypeAlias = npt.NDArray[np.datetime64]
Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int8Array: TypeAlias = npt.NDArray[np.int8]
Int32Array: TypeAlias = npt.NDArray[np.int32]
Int64Array: TypeAlias = npt.NDArray[np.int64]
ObjectArray: TypeAlias = npt.NDArray[np.object_]
StringArray: TypeAlias = npt.NDArray[np.str_]
UInt16Array: TypeAlias = npt.NDArray[np.uint16]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]
