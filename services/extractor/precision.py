"""Which floating-point type this processor computes fast. Some emulate bfloat16, hundreds of times slower."""

import time

import torch

# Large enough to be limited by arithmetic, small enough that an emulated product ends within a fifth of a second.
_SIZE = 256
_REPEATS = 5
# Below this gain bfloat16's lost digits buy nothing.
_WORTHWHILE = 1.3


def fastest_dtype() -> torch.dtype:
    """bfloat16 where a small matrix product in it is clearly faster than in float32 (measured now), else float32."""
    return torch.bfloat16 if _seconds(torch.bfloat16) * _WORTHWHILE < _seconds(torch.float32) else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    matrix = torch.ones(_SIZE, _SIZE, dtype=dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return best
