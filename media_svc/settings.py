"""Limits of this service, from `REELGRAPH_MEDIA_*`."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MediaSettings(BaseSettings):
    """Limits with their units. Engines and secrets are in `PlatformSettings`."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_MEDIA_", extra="ignore")

    max_video_bytes: int = Field(default=2 << 30, ge=1)
    max_image_bytes: int = Field(default=5 << 20, ge=1)
    max_image_pixels: int = Field(default=16_000_000, ge=1)
    avatar_side_px: int = Field(default=512, ge=16)
    part_bytes: int = Field(default=5 << 20, ge=1)
    max_parts: int = Field(default=1000, ge=1)
    """Beyond this many parts of `part_bytes`, parts grow."""
    max_open_uploads: int = Field(default=10, ge=1)
    """Uploads an account may have that are neither READY, FAILED nor ABORTED."""
    quota_bytes: int = Field(default=50 << 30, ge=1)
    """Bytes of an account's uploads that are open or kept."""
    begin_uploads_per_viewer: int = Field(default=120, ge=1)
    begin_uploads_window_s: int = Field(default=600, ge=1)
    upload_ttl_s: int = Field(default=24 * 3600, ge=1)
    """An upload that receives nothing new for this long is given up; its URLs end then."""
    kept_unreferenced_s: int = Field(default=24 * 3600, ge=0)
    """Bytes and renditions go this long after the last upload or video that uses them."""

    max_duration_ms: int = Field(default=180_000, ge=1)
    max_frame_pixels: int = Field(default=16_000_000, ge=1)
    rungs: tuple[int, ...] = (360, 720, 1080)
    """Short sides of the renditions."""
    ffmpeg: str = ""
    """The ffmpeg program; empty: the one on PATH, else the wheel's."""
    transcodes: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Transcodes that may run at a time in one process."""
    transcode_threads: int = Field(default=1, ge=1)
    verifications: int = Field(default=2, ge=1)
    """Uploads that may be verified at a time in one process."""
    job_lease_s: float = Field(default=30.0, gt=0)
    """A job whose process froze is taken over after this long; one whose process is gone, at once."""
    job_attempts: int = Field(default=5, ge=1)
    job_backoff_s: float = Field(default=2.0, gt=0)
    """Before the second attempt; doubles with each further one, to at most 60 s."""
    job_poll_s: float = Field(default=0.5, gt=0)

    playback_ttl_s: int = Field(default=6 * 3600, ge=3600)
    """How long a URL of a public video lasts at least; its end is rounded up to the hour."""
    restricted_playback_ttl_s: int = Field(default=15 * 60, ge=60)
    """The same for a video that is not public; rounded up to 5 minutes."""
    delivery: Literal["stream", "redirect"] = "stream"
    """`redirect`: segments and pictures of public videos are fetched from the blob store itself, where it has signed
    URLs. Playlists, and all that is not public, are always streamed."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may read playback and put parts; no credentials are ever involved."""
    janitor_s: float = Field(default=60.0, gt=0)
