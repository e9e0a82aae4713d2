"""The same bytes in fewer, larger blocks: each costs a trip to a thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator


async def blocks_of(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncGenerator[bytes, None]:
    """Blocks of at least `size_bytes`, but for the last; in memory is one and the chunk that completes it."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= size_bytes:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)
