"""What an adapter of the blob store may need beside its URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svc_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class BlobContext:
    """For adapters without signed URLs of their own: our HTTP side answers theirs."""

    secret: bytes
    public_url: Callable[[], str]
    """Asked when a URL is made: the launcher may learn the port late."""
    clock: Clock
