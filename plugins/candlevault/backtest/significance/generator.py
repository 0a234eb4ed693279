"""Random numbers that are the same on every machine: splitmix64.

G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
A state is an array of one uint64, changed by every draw. Whole numbers below a limit are drawn
without bias: D. Lemire, "Fast Random Integer Generation in an Interval" (2019).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numba import njit

from candlevault.errors import InvalidRequest

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SPAN = np.uint64(1 << 32)


def seed_of(payload_hash: str, purpose: str) -> int:
    """A seed (0 to 2**64 - 1) that belongs to a payload and one use of randomness."""
    digest = hashlib.sha256(f"{purpose}\n{payload_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def started(seed: int) -> np.ndarray:
    """The first state. Raises InvalidRequest for what is no whole number of 64 bits."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 1 << 64:
        raise InvalidRequest("seed", "must be a whole number from 0 to 2**64 - 1", seed)
    return np.array([seed], dtype=np.uint64)


@njit(cache=True, nogil=True)
def drawn(state):
    """64 random bits."""
    state[0] += _STEP
    bits = (state[0] ^ (state[0] >> _30)) * _FIRST
    bits = (bits ^ (bits >> _27)) * _SECOND
    return bits ^ (bits >> _31)


@njit(cache=True, nogil=True)
def below(state, limit):
    """A whole number from 0 to `limit` - 1; `limit` from 1 to 2**32 - 1."""
    size = np.uint64(limit)
    product = (drawn(state) >> _32) * size
    if product & _LOW < size:
        refused = (_SPAN - size) % size
        while product & _LOW < refused:
            product = (drawn(state) >> _32) * size
    return np.int64(product >> _32)
