"""The same bytes in fewer, larger portions: each costs a trip to a thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator


async def batches_of(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncGenerator[list[bytes], None]:
    """Chunks, together of at least `size_bytes` but for the last ones."""
    pending: list[bytes] = []
    held = 0
    async for chunk in chunks:
        pending.append(chunk)
        held += len(chunk)
        if held >= size_bytes:
            yield pending
            pending, held = [], 0
    if held:
        yield pending


async def blocks_of(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncGenerator[bytes, None]:
    """The same, joined."""
    async for batch in batches_of(chunks, size_bytes):
        yield b"".join(batch)
