"""Renders the demo's clips: short, moving, with sound, visibly and audibly different by topic.

Nothing is downloaded: pictures and sounds are drawn by ffmpeg's own generators, and the same topic, seed and
size give the same bytes with the same ffmpeg.
"""

import re
from pathlib import Path
from random import Random

from launcher.demo.topics import FPS, TOPICS, Canvas, Topic
from media_svc.transcode.engine.errors import TranscodeFailed
from media_svc.transcode.engine.process import ChildLimits, run_limited
from media_svc.transcode.engine.tools import FfmpegTools

__all__ = ["SIZES", "TOPICS", "Topic", "render_clip", "topic_named"]

SIZES = ((360, 640), (540, 960))
_LIMITS = ChildLimits(cpu_s=60, memory_bytes=4 << 30, file_bytes=64 << 20, wall_s=120.0)
_FONTS = (
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"),
    Path("/usr/share/fonts/dejavu/DejaVuSans-Bold.ttf"),
    Path("/System/Library/Fonts/Helvetica.ttc"),
)


def topic_named(name: str) -> Topic:
    """The topic of this name. Raises `KeyError`, naming the valid ones."""
    for topic in TOPICS:
        if topic.name == name:
            return topic
    raise KeyError(f"no topic {name!r}; there are {', '.join(topic.name for topic in TOPICS)}")


async def render_clip(
    path: Path, topic: str, seed: int, width: int, height: int, seconds: float, tools: FfmpegTools
) -> Path:
    """Writes an MP4 of the given even size (pixels) and length to `path`, and returns it.

    Raises `KeyError` for an unknown topic and `TranscodeFailed` when ffmpeg does not make it.
    """
    if width % 2 or height % 2 or not 0 < seconds <= 60:
        raise ValueError(f"a clip needs even sides and at most 60 s, not {width}x{height} and {seconds} s")
    chosen = topic_named(topic)
    # One stream of dice for all would let a change in the picture change the sound.
    canvas = Canvas(width, height, seconds, Random(f"{topic}/{seed}/picture"))
    picture = ",".join([chosen.picture(canvas), *_label(chosen, canvas, tools), "format=yuv420p", "setsar=1"])
    sound = chosen.sound(Random(f"{topic}/{seed}/sound"))
    ended = await run_limited(_command(path, picture, sound, seconds, tools), _LIMITS)
    if ended.returncode != 0 or ended.timed_out:
        raise TranscodeFailed(True, f"The demo clip {path.name} could not be made.", detail=ended.stderr_tail)
    return path


def _command(path: Path, picture: str, sound: str, seconds: float, tools: FfmpegTools) -> list[str]:
    words = "-nostdin -hide_banner -loglevel error -y -filter_threads 1"
    video = f"-c:v libx264 -preset ultrafast -crf 27 -threads 1 -r {FPS} -flags:v +bitexact"
    audio = "-c:a aac -b:a 64k -ac 1 -flags:a +bitexact"
    return [
        str(tools.ffmpeg),
        *words.split(),
        *("-f", "lavfi", "-i", picture),
        *("-f", "lavfi", "-i", sound),
        *video.split(),
        *audio.split(),
        *("-t", f"{seconds:.3f}", "-fflags", "+bitexact", "-movflags", "+faststart", "-f", "mp4"),
        f"file:{path.absolute()}",
    ]


def _label(topic: Topic, canvas: Canvas, tools: FfmpegTools) -> list[str]:
    """The topic's name on the picture, where the build can draw text and a font is there."""
    font = next((one for one in _FONTS if one.is_file()), None)
    if font is None or "drawtext" not in tools.filters or not re.fullmatch(r"[\w/.-]+", str(font)):
        return []
    size, y = canvas.width // 9, canvas.dice.uniform(0.06, 0.14)
    style = f"fontcolor=white:fontsize={size}:box=1:boxcolor=black@0.45:boxborderw={size // 4}"
    return [f"drawtext=fontfile={font}:text={topic.name}:x=(w-text_w)/2:y=h*{y:.3f}:{style}"]
