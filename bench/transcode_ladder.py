"""The ladder 1080+720+360 of a 20 s clip, against one hand-written ffmpeg command with the same outputs. CPU
seconds."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import tempfile
from pathlib import Path

from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.runner import EncodeLimits, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools

ROUNDS = 3
SOURCE = "mandelbrot=s=1080x1920:r=30:maxiter=300"
GRAPH = "[0:v]fps=30,format=yuv420p,split=2[a][b];[b]scale=720:-2,split=2[c][d];[d]scale=360:-2[e]"


def children_cpu_s() -> float:
    """CPU seconds of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_hand(ffmpeg: str, source: Path, out: Path) -> None:
    """The same renditions, audio group, segment length and keyframes in one command."""
    video = ["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-force_key_frames", "expr:gte(t,n_forced*2)"]
    hls = [
        "-f",
        "hls",
        "-hls_time",
        "2",
        "-hls_playlist_type",
        "vod",
        "-hls_segment_type",
        "fmp4",
        "-sc_threshold",
        "0",
    ]
    command = [ffmpeg, "-v", "error", "-y", "-threads", "1", "-i", str(source), "-filter_complex", GRAPH]
    for label, name in (("a", "1080"), ("c", "720"), ("e", "360")):
        (out / name).mkdir(parents=True)
        command += ["-map", f"[{label}]", *video, "-crf", "23", *hls, "-hls_fmp4_init_filename", "init.mp4"]
        command += ["-hls_segment_filename", str(out / name / "s%05d.m4s"), str(out / name / "index.m3u8")]
    (out / "audio").mkdir()
    command += ["-map", "0:a", "-c:a", "aac", "-b:a", "128k", *hls[:-2], "-hls_fmp4_init_filename", "init.mp4"]
    command += ["-hls_segment_filename", str(out / "audio" / "s%05d.m4s"), str(out / "audio" / "index.m3u8")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


async def _ignore(_percent: int) -> None:
    return None


async def main() -> None:
    tools = await FfmpegTools.find()
    with tempfile.TemporaryDirectory(prefix="reelgraph-bench-") as name:
        folder = Path(name)
        source = folder / "source.mp4"
        make = ["-f", "lavfi", "-i", SOURCE, "-f", "lavfi", "-i", "sine=440", "-t", "20", "-c:v", "libx264"]
        command = [str(tools.ffmpeg), "-v", "error", *make, "-preset", "ultrafast", "-crf", "20", str(source)]
        await asyncio.to_thread(subprocess.run, command, check=True, stdin=subprocess.DEVNULL)
        info = await probe(source, ProbeLimits(), tools)
        for number in range(ROUNDS):
            before = children_cpu_s()
            out = folder / f"ours-{number}"
            out.mkdir()
            await run_ladder(source, out, info, plan_ladder(info), tools, on_progress=_ignore, limits=EncodeLimits())
            ours = children_cpu_s() - before
            await asyncio.to_thread(by_hand, str(tools.ffmpeg), source, folder / f"hand-{number}")
            hand = children_cpu_s() - before - ours
            print(f"ladder {ours:6.2f} CPU-s   by hand {hand:6.2f} CPU-s   ratio {ours / hand:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
