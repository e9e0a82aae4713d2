"""What an adapter of the blob store may need beside its URL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from svc_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class BlobContext:
    """`secret` and `public_url` are for adapters without signed URLs of their own: our HTTP side answers theirs."""

    secret: bytes
    public_url: Callable[[], str]
    """Asked when a URL is made: the launcher may learn the port late."""
    clock: Clock
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "reelgraph-scratch")
    """Where blobs that are needed as files are copied to, if they are anywhere else."""
