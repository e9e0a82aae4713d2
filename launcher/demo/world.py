"""The demo world: creators with a topic each, viewers with tastes, and what they do, all through the public API.

Deterministic: the same names, clips and tastes each time. Filling goes on where an earlier run stopped.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from launcher.demo.client import ApiClient, Json, RequestFailed
from launcher.demo.clips import TOPICS, Topic, render_clip
from media_svc.transcode.engine.tools import FfmpegTools

PASSWORD = "reelgraph-demo"
CLIPS = 40
VIEWERS = 60
SEED = 20260101
AT_ONCE = 6
RETRIES = 4
WATCHES_A_VIEWER = 14

CREATORS = (
    ("chef_remy", "Remy cooks", "cooking"),
    ("nonna_lucia", "Nonna Lucia", "cooking"),
    ("goal_gita", "Gita on goals", "football"),
    ("whisker_wu", "Whisker Wu", "cats"),
    ("purr_patrol", "Purr Patrol", "cats"),
    ("far_away_fatou", "Fatou far away", "travel"),
    ("lo_fi_leo", "Leo, lo-fi", "music"),
    ("strings_sofia", "Sofia's strings", "music"),
    ("byte_bea", "Bea builds", "coding"),
    ("rep_rashid", "Rashid reps", "fitness"),
    ("paint_paula", "Paula paints", "art"),
    ("sketch_sven", "Sven sketches", "art"),
)
FIRST_NAMES = [
    "ada",
    "bo",
    "chidi",
    "dana",
    "eli",
    "fern",
    "goro",
    "hana",
    "ivo",
    "juno",
    "kai",
    "lena",
    "milo",
    "nadia",
    "omar",
    "pia",
    "quinn",
    "rosa",
    "sami",
    "tara",
    "uma",
    "vik",
    "wren",
    "xena",
    "yara",
    "zane",
]
REMARKS = (
    "Love this",
    "How did you do that?",
    "Again!",
    "My whole evening now",
    "Saved it",
    "So good #{tag}",
    "First!",
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip to render and publish."""

    creator: str
    topic: Topic
    seed: int
    width: int
    height: int
    seconds: float
    caption: str


@dataclass(frozen=True, slots=True)
class Viewer:
    """One viewer and what they like."""

    username: str
    name: str
    topics: tuple[str, ...]


def plan_clips() -> list[Clip]:
    """The clips, creators in turn."""
    dice, topics = random.Random(SEED), {topic.name: topic for topic in TOPICS}
    clips = []
    for number in range(CLIPS):
        username, _, topic_name = CREATORS[number % len(CREATORS)]
        topic = topics[topic_name]
        width, height = (540, 960) if number % 5 == 4 else (360, 640)
        tags = " ".join(f"#{tag}" for tag in topic.hashtags)
        caption = f"{topic.name.capitalize()} no. {number + 1} {tags}"
        clips.append(Clip(username, topic, SEED + number, width, height, round(dice.uniform(3, 8), 1), caption))
    return clips


def plan_viewers() -> list[Viewer]:
    """The viewers; the first one is a demo login and has one clear taste."""
    dice, names = random.Random(SEED), [topic.name for topic in TOPICS]
    viewers = [Viewer("ada_viewer", "Ada", ("cats",))]
    for number in range(1, VIEWERS):
        first = FIRST_NAMES[number % len(FIRST_NAMES)]
        viewers.append(
            Viewer(f"{first}_{number}", first.capitalize(), tuple(dice.sample(names, dice.choice((1, 1, 2)))))
        )
    return viewers


async def fill(url: str) -> None:
    """Fill the instance at `url`, showing progress. Raises `RequestFailed` or httpx errors."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar, tempfile.TemporaryDirectory(prefix="reelgraph-clips-") as folder:
        creators = await _each(bar, "creators sign up", CREATORS, lambda c: enter(url, c[0], c[1]))
        by_name = {client_name: client for (client_name, _, _), client in zip(CREATORS, creators, strict=True)}
        tools = await FfmpegTools.find()
        await _each(
            bar,
            "clips published",
            plan_clips(),
            lambda c: publish(by_name[c.creator], c, Path(folder), tools),
            at_once=3,
        )
        people = plan_viewers()
        viewers = await _each(bar, "viewers sign up", people, lambda v: enter(url, v.username, v.name))
        catalogue = await _catalogue(by_name.values())
        pairs = list(zip(people, viewers, strict=True))
        await _each(bar, "viewers watch and like", pairs, lambda p: live(p[0], p[1], catalogue))
        for client in (*creators, *viewers):
            await client.http.aclose()


async def _each(
    bar: Progress, what: str, items: Sequence[T], act: Callable[[T], Awaitable[R]], at_once: int = AT_ONCE
) -> list[R]:
    task, gate = bar.add_task(what, total=len(items)), asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with gate:
            result = await act(item)
            bar.advance(task)
            return result

    return await asyncio.gather(*(one(item) for item in items))


R = TypeVar("R")


async def enter(url: str, username: str, name: str) -> ApiClient:
    """Sign up, or log in where the account is there already."""
    client = ApiClient(url, client_id=str(uuid.uuid5(uuid.NAMESPACE_URL, username)), retries=RETRIES)
    try:
        await client.sign_up(username, PASSWORD, name)
    except RequestFailed as error:
        if error.codes != ["TAKEN"]:
            raise
        await client.log_in(username, PASSWORD)
    return client


async def publish(client: ApiClient, clip: Clip, folder: Path, tools: FfmpegTools) -> None:
    """Render, upload and publish a clip, unless its creator has it already."""
    if clip.caption in {video["caption"] for video in await _videos_of(client)}:
        return
    path = folder / f"{clip.seed}.mp4"
    await render_clip(path, clip.topic.name, clip.seed, clip.width, clip.height, clip.seconds, tools)
    upload = await client.upload(path)
    await client.mutate("publishVideo", "video { id }", uploadId=upload["id"], caption=clip.caption)
    path.unlink()
    done = await client.wait_for_upload(upload["id"])
    if done["state"] != "READY":
        raise RuntimeError(f"{clip.caption}: {done['failureReason']}")


async def _videos_of(client: ApiClient) -> list[Json]:
    fields = "edges { node { id caption durationMs hashtags author { id username } } }"
    data = await client.query(f"{{ viewer {{ user {{ videos(first: 100) {{ {fields} }} }} }} }}")
    return [edge["node"] for edge in data["viewer"]["user"]["videos"]["edges"]]


async def _catalogue(creators: Iterable[ApiClient]) -> list[Json]:
    videos = [video for client in creators for video in await _videos_of(client)]
    return sorted(videos, key=lambda video: str(video["caption"]))


async def live(viewer: Viewer, client: ApiClient, catalogue: Sequence[Json]) -> None:
    """Interests, follows, watches, likes and comments of one viewer, drawn from their taste. Again: nothing changes."""
    dice = random.Random(f"{SEED}{viewer.username}")
    topics = {topic.name: topic for topic in TOPICS}
    liked_tags = {tag for name in viewer.topics for tag in topics[name].hashtags}
    await client.mutate("setInterests", "user { id }", hashtags=sorted(liked_tags))
    shown = dice.sample(list(catalogue), min(WATCHES_A_VIEWER, len(catalogue)))
    watches, matching = [], []
    for video in shown:
        fits = bool(liked_tags & set(video["hashtags"]))
        share = dice.uniform(0.85, 1.0) if fits else dice.uniform(0.05, 0.4)
        watches.append(
            {
                "watchId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{viewer.username}/{video['caption']}")),
                "videoId": video["id"],
                "watchedMs": int(video["durationMs"] * share),
                "completed": share > 0.95,
                "skipped": share < 0.2,
            }
        )
        if fits:
            matching.append(video)
    await client.mutate("recordWatches", "acceptedCount", watches=watches)
    for video in matching:
        if dice.random() < 0.6:
            await client.mutate("likeVideo", "video { id }", videoId=video["id"])
        if dice.random() < 0.5:
            await client.mutate("followUser", "user { id }", userId=video["author"]["id"])
        if dice.random() < 0.25:
            text = dice.choice(REMARKS).replace("{tag}", dice.choice(sorted(liked_tags)))
            key = uuid.uuid5(uuid.NAMESPACE_URL, f"comment/{viewer.username}/{video['caption']}").hex
            await client.mutate("addComment", "comment { id }", videoId=video["id"], text=text, idempotencyKey=key)
