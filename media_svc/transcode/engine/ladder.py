"""Which renditions a video gets, and what each may cost. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import exp, log

from media_svc.transcode.engine.probe import MediaInfo

DEFAULT_RUNGS = (360, 720, 1080)
START_SIDE = 720
MAX_FPS = Fraction(60)
MIN_FPS = Fraction(10)
SEGMENT_S = 2

# Cap in kbit/s by pixels a frame at 30 frames a second, for x264 at CRF 23: what the hardest moving picture
# may take; an easy one takes a fraction. Between the points the cap follows a straight line of the
# logarithms.
_CAPS = (
    (360 * 640, 900),
    (540 * 960, 1_800),
    (720 * 1280, 3_200),
    (1080 * 1920, 6_000),
    (1440 * 2560, 11_000),
    (2160 * 3840, 20_000),
)
_LEAST_KBPS = 150
_USUAL_RATES = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60")
)


@dataclass(frozen=True, slots=True)
class Rendition:
    """One rung: even width and height, the cap of its bit rate (kbit/s) and its constant rate factor."""

    width: int
    height: int
    max_kbps: int
    crf: int = 23

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)

    @property
    def name(self) -> str:
        """The folder of this rendition."""
        return f"v{self.short_side}"


def plan_ladder(info: MediaInfo, rungs: Sequence[int] = DEFAULT_RUNGS) -> tuple[Rendition, ...]:
    """The renditions, the largest first: every rung that the source reaches, never one beyond it.

    The source's own short side is added when it lies between rungs, and is the only one below the lowest.
    """
    if not rungs or min(rungs) < 16:
        raise ValueError(f"rungs must be short sides of 16 pixels or more, not {list(rungs)}")
    own = _even(info.short_side)
    sides = {_even(rung) for rung in rungs if rung <= info.short_side}
    if info.short_side < max(rungs):
        sides.add(own)
    fps = output_fps(info)
    return tuple(_rendition(info, side, fps) for side in sorted(sides, reverse=True))


def output_fps(info: MediaInfo) -> Fraction:
    """The constant frame rate of every rendition: the source's, at most 60.

    Frames at a steady distance make segments of equal length whatever the source does. A source slower than
    10 a second repeats its frames, which costs next to nothing: a keyframe falls on each segment's start.
    """
    if info.fps <= 0:
        return MIN_FPS
    for usual in _USUAL_RATES:
        if abs(info.fps / usual - 1) < Fraction(4, 10_000):
            return usual
    nearest = min(_USUAL_RATES, key=lambda usual: abs(info.fps / usual - 1))
    if abs(info.fps / nearest - 1) < Fraction(3, 100):
        return nearest
    return max(MIN_FPS, min(MAX_FPS, info.fps.limit_denominator(1001)))


def starting_first(renditions: Sequence[Rendition]) -> tuple[Rendition, ...]:
    """In the order of the master playlist: first the one that players should start on, then by size,
    descending.

    A short clip loops: a player that starts low replays the low first segments. So the start is 720 where
    there is one, else the highest below it, else the lowest.
    """
    descending = sorted(renditions, key=lambda rendition: rendition.short_side, reverse=True)
    start = next((one for one in descending if one.short_side <= START_SIDE), descending[-1])
    return (start, *(one for one in descending if one is not start))


def cap_kbps(pixels: int, fps: Fraction) -> int:
    """The cap for a frame of so many pixels; above 30 frames a second it grows half as fast as the rate."""
    faster = max(Fraction(1), 1 + (min(fps, MAX_FPS) / 30 - 1) / 2)
    return max(_LEAST_KBPS, round(_cap_at_30(pixels) * faster))


def _cap_at_30(pixels: int) -> float:
    smallest, largest = _CAPS[0], _CAPS[-1]
    if pixels <= smallest[0]:
        return smallest[1] * pixels / smallest[0]
    for (low, low_kbps), (high, high_kbps) in pairwise(_CAPS):
        if pixels <= high:
            share = log(pixels / low) / log(high / low)
            return exp(log(low_kbps) + share * log(high_kbps / low_kbps))
    return largest[1] * pixels / largest[0]


def _rendition(info: MediaInfo, side: int, fps: Fraction) -> Rendition:
    scale = Fraction(side, info.short_side)
    width, height = (
        side if edge == info.short_side else min(_even_near(edge * scale), _even(edge))
        for edge in (info.width, info.height)
    )
    return Rendition(width, height, cap_kbps(width * height, fps))


def _even(value: int) -> int:
    return value - value % 2


def _even_near(value: Fraction) -> int:
    return max(2, round(value / 2) * 2)
