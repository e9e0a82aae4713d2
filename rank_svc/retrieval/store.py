"""The port of vector search. Every adapter passes `tests/contract/test_vector_index.py`."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hits:
    """What is near one vector, best first; equal scores by greater id."""

    ids: Ints
    """[m]"""
    scores: Floats
    """[m] inner products."""


class VectorIndex(Protocol):
    """Vectors by id, compared by inner product.

    Searching while others add and remove is safe, also from other threads: an answer holds what was there at its end,
    with its score of then; what was there all the while is missed only by searches that are not `exact`. What was
    removed before a search began is in none of its answers.
    """

    @property
    def dimensions(self) -> int:
        """d"""
        ...

    @property
    def size(self) -> int:
        """How many vectors there are."""
        ...

    async def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Insert or replace; [n, d], all finite, ids from 1 to 2^63 - 1. Raises ValueError, and then adds none."""
        ...

    async def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        ...

    async def search(
        self, vectors: Floats, k: int, *, exclude: AbstractSet[int] = frozenset(), exact: bool = False
    ) -> Sequence[Hits]:
        """For each of [q, d] vectors the k nearest, less when there are fewer; none for k of 0 or less.

        `exclude`: ids not to answer; they do not count towards k. `exact`: by comparing with all, however long it
        takes; without, some may be missed. Raises ValueError for vectors of other dimensions or not finite.
        """
        ...

    def vectors(self, ids: Sequence[int]) -> tuple[Floats, NDArray[np.bool_]]:
        """[n, d] float32 as they were added, zeros where there is none, and [n] which there are."""
        ...

    async def settled(self) -> None:
        """Return when nothing is left to do in the background. Until then searches may be slower, never wrong."""
        ...

    async def close(self) -> None:
        """Release its memory. Idempotent."""
        ...
