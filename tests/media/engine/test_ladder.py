"""Which renditions a source gets."""

from dataclasses import replace
from fractions import Fraction

import pytest

from media_svc.transcode.engine.ladder import cap_kbps, output_fps, plan_ladder, starting_first
from media_svc.transcode.engine.probe import MediaInfo

SOURCE = MediaInfo(
    duration_ms=3000,
    video_ms=3000,
    width=1080,
    height=1920,
    rotation=0,
    fps=Fraction(30),
    variable_frame_rate=False,
    has_audio=True,
    video_codec="h264",
    audio_codec="aac",
    container="mp4",
    size_bytes=1,
    video_index=0,
    audio_index=1,
)
ALL_RUNGS = (360, 720, 1080, 1440, 2160)


def sides(width: int, height: int, rungs: tuple[int, ...] = (360, 720, 1080)) -> list[int]:
    renditions = plan_ladder(replace(SOURCE, width=width, height=height), rungs)
    return [rendition.short_side for rendition in renditions]


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1080, 1920, [1080, 720, 360]),
        (1920, 1080, [1080, 720, 360]),
        (720, 1280, [720, 360]),
        (540, 960, [540, 360]),
        (360, 640, [360]),
        (361, 641, [360]),
        (240, 426, [240]),
        (900, 1600, [900, 720, 360]),
        (2160, 3840, [1080, 720, 360]),
    ],
)
def test_rungs_reach_the_source_and_its_own_size_where_it_lies_between(
    width: int, height: int, expected: list[int]
) -> None:
    assert sides(width, height) == expected


def test_higher_rungs_are_a_setting() -> None:
    assert sides(2160, 3840, ALL_RUNGS) == [2160, 1440, 1080, 720, 360]
    assert sides(1600, 2000, ALL_RUNGS) == [1600, 1440, 1080, 720, 360]


@pytest.mark.parametrize(("width", "height"), [(181, 321), (541, 961), (1081, 1923), (333, 1999), (17, 4001)])
def test_dimensions_are_even_and_never_larger_than_the_source(width: int, height: int) -> None:
    for rendition in plan_ladder(replace(SOURCE, width=width, height=height)):
        assert rendition.width % 2 == rendition.height % 2 == 0
        assert rendition.width <= width and rendition.height <= height


def test_caps_grow_with_the_size_so_no_low_rung_is_larger_than_a_high_one() -> None:
    for size in [(1080, 1920), (900, 1600), (2160, 3840)]:
        caps = [one.max_kbps for one in plan_ladder(replace(SOURCE, width=size[0], height=size[1]), ALL_RUNGS)]
        assert caps == sorted(caps, reverse=True) and len(set(caps)) == len(caps)
    assert cap_kbps(720 * 1280, Fraction(60)) == round(1.5 * cap_kbps(720 * 1280, Fraction(30)))


def test_players_start_on_720_or_the_highest_below_it() -> None:
    def order(width: int, height: int) -> list[int]:
        return [one.short_side for one in starting_first(plan_ladder(replace(SOURCE, width=width, height=height)))]

    assert order(1080, 1920) == [720, 1080, 360]
    assert order(540, 960) == [540, 360]
    assert order(240, 426) == [240]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(30), Fraction(30)),
        (Fraction(2997, 100), Fraction(30000, 1001)),
        (Fraction(1000, 33), Fraction(30)),
        (Fraction(240), Fraction(60)),
        (Fraction(1), Fraction(10)),
        (Fraction(0), Fraction(10)),
        (Fraction(15), Fraction(15)),
    ],
)
def test_frame_rate_is_the_sources_within_10_and_60(source: Fraction, expected: Fraction) -> None:
    assert output_fps(replace(SOURCE, fps=source)) == expected


def test_rungs_too_small_to_encode_are_refused() -> None:
    with pytest.raises(ValueError, match="16 pixels"):
        plan_ladder(SOURCE, (0, 360))
