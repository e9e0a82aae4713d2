"""The demo's clips: real, short videos that can be told apart."""

import hashlib
from pathlib import Path

import av
import pytest

from launcher.demo.clips import SIZES, TOPICS, render_clip, topic_named
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.tools import FfmpegTools


def frames(path: Path) -> list[bytes]:
    """Small grey pictures, four over the length."""
    with av.open(str(path)) as container:
        pictures = [frame.reformat(width=16, height=16, format="gray") for frame in container.decode(video=0)]
    return [bytes(pictures[len(pictures) * n // 4].planes[0]) for n in range(4)]


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS])
async def test_each_topic_renders_an_acceptable_moving_clip_with_sound(topic: str, tmp_path: Path) -> None:
    tools = await FfmpegTools.find()
    path = await render_clip(tmp_path / f"{topic}.mp4", topic, 1, 180, 320, 1.5, tools)
    info = await probe(path, ProbeLimits(), tools)
    assert (info.width, info.height, info.has_audio) == (180, 320, True)
    assert 1400 <= info.duration_ms <= 1700
    first, *_, last = frames(path)
    changed = sum(abs(one - other) > 24 for one, other in zip(first, last, strict=True))
    assert changed >= 6, "a part of the picture that anyone sees has moved"


async def test_topics_and_seeds_look_different_and_the_same_again_is_the_same(tmp_path: Path) -> None:
    tools = await FfmpegTools.find()
    seen = set()
    for topic, seed in [("football", 1), ("football", 2), ("music", 1), ("music", 2)]:
        path = await render_clip(tmp_path / f"{topic}{seed}.mp4", topic, seed, 90, 160, 0.5, tools)
        seen.add(frames(path)[2])
    assert len(seen) == 4
    digests = set()
    for again in range(2):
        path = await render_clip(tmp_path / f"again{again}.mp4", "cooking", 7, 90, 160, 0.5, tools)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_topics_are_many_with_tags_of_their_own() -> None:
    assert len(TOPICS) >= 8
    assert len({topic.hashtags[0] for topic in TOPICS}) == len(TOPICS)
    assert all(topic.hashtags and topic.captions for topic in TOPICS)
    assert all(width * 16 == height * 9 for width, height in SIZES)
    with pytest.raises(KeyError, match="cooking"):
        topic_named("unheard-of")


async def test_odd_sizes_are_refused(tmp_path: Path) -> None:
    tools = await FfmpegTools.find()
    with pytest.raises(ValueError, match="even sides"):
        await render_clip(tmp_path / "odd.mp4", "art", 1, 181, 320, 1, tools)
