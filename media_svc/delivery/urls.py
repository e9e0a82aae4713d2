"""Playback URLs: a token signs a playback name and when it ends, and no viewer, so that an edge can cache for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.paging import TokenSigner

HOUR_S = 3600
_SHORT_STEP_S = 300
MASTER = "master.m3u8"
POSTER = "poster.jpg"
STILLS = ("still-1.jpg", "still-2.jpg", "still-3.jpg")


@dataclass(frozen=True, slots=True)
class PlaybackUrls:
    """Absolute URLs of one video, and when they end."""

    hls: str
    poster: str
    stills: tuple[str, ...]
    expires_at_ms: int


class UrlSigner:
    """Makes URLs of media_svc's HTTP side and checks their tokens."""

    def __init__(
        self, secret: bytes, public_url: Callable[[], str], clock: Clock, *, public_s: int, restricted_s: int
    ) -> None:
        self._signer = TokenSigner(secret, "media.playback")
        self._public_url = public_url
        self._clock = clock
        self._public_s = public_s
        self._restricted_s = restricted_s

    def playback(self, play_id: str, *, is_public: bool) -> PlaybackUrls:
        """URLs of a playable video. The same for everybody within an hour (5 minutes when it is not public)."""
        lasting, step = (self._public_s, HOUR_S) if is_public else (self._restricted_s, _SHORT_STEP_S)
        until_s = -(-(now_ms(self._clock) // 1000 + lasting) // step) * step
        token = self._signer.seal(until_s, bound_to=play_id)
        root = self._public_url()
        pictures = f"{root}/p/{token}/{play_id}/"
        stills = tuple(pictures + still for still in STILLS)
        return PlaybackUrls(f"{root}/v/{token}/{play_id}/{MASTER}", pictures + POSTER, stills, until_s * 1000)

    def avatar(self, key: str) -> str:
        """The lasting URL of a claimed avatar."""
        return f"{self._public_url()}/a/{key}.jpg"

    def seconds_left(self, token: str, play_id: str) -> int:
        """How long a token still opens a playback name; 0: it has expired, was forged, or is for another one."""
        try:
            (until_s,) = self._signer.open(token, bound_to=play_id)
        except (AppError, ValueError):
            return 0
        return max(0, int(until_s) - now_ms(self._clock) // 1000)
