"""Rates by the definition of the playlists' standard, and an inspection that catches what is wrong."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from media_svc.transcode.engine.errors import OutputInvalid
from media_svc.transcode.engine.inspect import verify_output
from media_svc.transcode.engine.playlists import Segment, measure, peak_bps
from media_svc.transcode.engine.runner import LadderResult

Encode = Callable[[Path], tuple[Path, LadderResult]]


def segments(*sizes: tuple[float, int]) -> list[Segment]:
    return [Segment(f"s{n}", seconds, size) for n, (seconds, size) in enumerate(sizes)]


def test_peak_is_the_largest_rate_of_neighbours_that_last_about_one_segment() -> None:
    assert peak_bps(segments((2, 1000), (2, 3000), (2, 2000))) == 12_000
    # A short last segment counts with its neighbour only: alone it would say 80 000.
    assert peak_bps(segments((2, 1000), (0.1, 1000))) == ceil(2000 * 8 / 2.1)
    assert peak_bps(segments((0.4, 500))) == 10_000


@pytest.fixture
def output(studio: Any, encode: Encode, tmp_path: Path) -> Path:
    """A good output of two renditions and sound, to be spoiled."""
    out, _ = encode(studio.clip("two.mp4", "400x500", 2.5))
    return Path(shutil.copytree(out, tmp_path / "copy"))


def inspect(out: Path) -> None:
    verify_output(out, [measure(out, "v400"), measure(out, "v360")], measure(out, "audio"), Fraction(30))


def test_a_good_output_passes(output: Path) -> None:
    inspect(output)


@pytest.mark.parametrize("name", ["v360/s00001.m4s", "v400/init.mp4", "audio/s00000.m4s", "poster.jpg", "still-3.jpg"])
def test_a_missing_or_empty_file_is_found(output: Path, name: str) -> None:
    (output / name).write_bytes(b"")
    with pytest.raises((OutputInvalid, FileNotFoundError)):
        inspect(output)
    (output / name).unlink()
    with pytest.raises((OutputInvalid, FileNotFoundError)):
        inspect(output)


def test_segments_that_do_not_start_together_are_found(output: Path) -> None:
    (output / "v360" / "s00001.m4s").write_bytes((output / "v360" / "s00000.m4s").read_bytes())
    with pytest.raises(OutputInvalid, match="different times"):
        inspect(output)


def test_a_segment_without_a_leading_keyframe_is_found(output: Path) -> None:
    path = output / "v400" / "s00001.m4s"
    data = bytearray(path.read_bytes())
    flags = data.index(b"trun") + 4 + 4 + 4 + 4  # version and flags, count, data offset: the first sample's flags
    data[flags : flags + 4] = b"\x01\x01\x00\x00"
    path.write_bytes(data)
    with pytest.raises(OutputInvalid, match="keyframe"):
        inspect(output)


def test_an_unfinished_or_escaping_playlist_is_found(output: Path) -> None:
    path = output / "v360" / "index.m3u8"
    text = path.read_text()
    path.write_text(text.replace("#EXT-X-ENDLIST", ""))
    with pytest.raises(OutputInvalid, match="not a finished"):
        inspect(output)
    path.write_text(text.replace("init.mp4", "../v400/init.mp4"))
    with pytest.raises(OutputInvalid, match="no file beside"):
        inspect(output)


def test_a_rendition_the_master_does_not_list_is_found(output: Path) -> None:
    master = output / "master.m3u8"
    master.write_text(master.read_text().replace("v360/index.m3u8", "v361/index.m3u8"))
    with pytest.raises(OutputInvalid, match="master playlist"):
        inspect(output)
