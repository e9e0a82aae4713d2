"""What a world's views come to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

from bench.simulate.audience import View
from bench.simulate.plan import GOOD, Person, Plan, Sizes, in_taste

AFTER = (0, 10, 20, 50)
WINDOW = 10
"""Views, from a number of watches on, over which a share is taken."""
FOUND = 2.0
"""A video was found when it was served this many times as often as new videos are on average."""
Json = dict[str, Any]


def measured(plan: Plan, sizes: Sizes, views: Sequence[View], guarantee: int) -> Json:
    """All figures of one policy's world. `guarantee`: impressions meant for each new video."""
    seen = [view for view in views if view.nth >= 0]
    return {
        "watches": len(seen),
        "taste": _taste(plan, seen, AFTER, changed=False),
        "recovery": _taste(plan, _since_change(seen), (0, 5, 10, 20), changed=True),
        "curve": _curve(plan, sizes, seen),
        "topics": _topics(views, seen),
        "sessions": _sessions(seen),
        "new_videos": _new(plan, views, guarantee),
        "coverage": round(len({view.clip.number for view in views}) / len(plan.clips), 4),
        "creators_gini": round(gini(_by_creator(plan, views)), 4),
        "repeats": _repeats(views),
    }


def _since_change(seen: Iterable[View]) -> list[View]:
    """Views after each person's change of taste, counted from 0."""
    first: dict[int, int] = {}
    found = []
    for view in seen:
        if view.changed:
            start = first.setdefault(view.person, view.nth)
            found.append(replace(view, nth=view.nth - start))
    return found


def _taste(plan: Plan, seen: Sequence[View], after: Sequence[int], *, changed: bool) -> Json:
    """Share of the taste of the moment among the `WINDOW` videos after so many watches, and over chance: the mean share
    divided by the mean share of the catalogue, with the standard error over people."""
    people = {person.number: person for person in plan.people}
    chance = mean(plan.chance(_of(person, changed=changed)) for person in plan.people)
    found: Json = {"chance": round(chance, 4)}
    for start in after:
        hits: defaultdict[int, list[bool]] = defaultdict(list)
        for view in seen:
            if start <= view.nth < start + WINDOW and view.changed == changed:
                hits[view.person].append(in_taste(view.clip, _of(people[view.person], changed=changed)))
        if hits:
            share = sum(map(sum, hits.values())) / sum(map(len, hits.values()))
            of_people = [mean(one) for one in hits.values()]
            error = stdev(of_people) / len(of_people) ** 0.5 if len(of_people) > 1 else 0.0
            found[f"after_{start}"] = {
                "share": round(share, 4),
                "times_chance": round(share / chance, 2),
                "standard_error": round(error / chance, 2),
            }
    return found


def _of(person: Person, *, changed: bool) -> Any:
    return person.later if changed else person.taste


def _curve(plan: Plan, sizes: Sizes, seen: Sequence[View]) -> list[tuple[int, float]]:
    """(watches so far, share of the taste of the moment) in steps of five."""
    people = {person.number: person for person in plan.people}
    points = []
    for start in range(0, sizes.watches + sizes.after, 5):
        hits = [
            in_taste(view.clip, _of(people[view.person], changed=view.changed))
            for view in seen
            if start <= view.nth < start + 5
        ]
        if hits:
            points.append((start, round(sum(hits) / len(hits), 4)))
    return points


def _topics(views: Sequence[View], seen: Sequence[View]) -> Json:
    """Share of the commonest topic within each whole page, each person's windows of ten views (which cross pages and
    sessions), and all that they saw."""
    pages: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for view in views:
        pages[view.page][view.clip.kind.tags[0]] += 1
    full = max((c.total() for c in pages.values()), default=0)
    on_page = [max(c.values()) / full for c in pages.values() if c.total() == full]
    windows: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    whole: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for view in seen:
        windows[view.person, view.nth // WINDOW][view.clip.kind.tags[0]] += 1
        whole[view.person][view.clip.kind.tags[0]] += 1
    tops = [max(c.values()) / WINDOW for c in windows.values() if c.total() == WINDOW]
    people = [max(c.values()) / c.total() for c in whole.values()]
    return {
        "pages_above_half": round(sum(top > 0.5 for top in on_page) / len(on_page), 4) if on_page else None,
        "top_share_mean": round(mean(tops), 4) if tops else None,
        "top_share_most": round(max(tops), 4) if tops else None,
        "windows_above_half": round(sum(top > 0.5 for top in tops) / len(tops), 4) if tops else None,
        "person_top_share_mean": round(mean(people), 4) if people else None,
        "person_top_share_most": round(max(people), 4) if people else None,
    }


def _sessions(seen: Sequence[View]) -> Json:
    """Of the taste that people came with; the session in which they had seen enough counts as far as it went."""
    watched: Counter[tuple[int, int]] = Counter()
    count: Counter[tuple[int, int]] = Counter()
    for view in seen:
        if not view.changed:
            watched[view.person, view.session] += view.watched_ms
            count[view.person, view.session] += 1
    rated = [view for view in seen if not view.changed]
    return {
        "sessions": len(watched),
        "minutes_a_session": round(mean(watched.values()) / 60_000, 3) if watched else 0.0,
        "videos_a_session": round(mean(count.values()), 2) if count else 0.0,
        "completion_rate": round(sum(v.completed for v in rated) / max(1, len(rated)), 4),
        "skip_rate": round(sum(v.skipped for v in rated) / max(1, len(rated)), 4),
    }


def _new(plan: Plan, views: Sequence[View], guarantee: int) -> Json:
    """Impressions of videos that came while people watched. What slots can carry: one impression in ten, counted over
    all impressions served after the first of them was published."""
    served = Counter(view.clip.number for view in views)
    new = [clip for clip in plan.clips if clip.is_new]
    if not new:
        return {}
    got = {clip.number: served[clip.number] for clip in new}
    slots = len(views) // 10
    can = min(guarantee, slots // len(new))
    good = [clip for clip in new if clip.is_unknown and clip.quality >= GOOD]
    other = [clip for clip in new if clip.is_unknown and clip.quality < GOOD]
    return {
        "videos": len(new),
        "guarantee": guarantee,
        "slots": slots,
        "guarantee_that_slots_carry": can,
        "got_guarantee": round(sum(count >= can for count in got.values()) / len(new), 4) if can else None,
        "got_any": round(sum(count > 0 for count in got.values()) / len(new), 4),
        "share_of_impressions": round(sum(got.values()) / max(1, len(views)), 4),
        "unknown_good": _grown([got[clip.number] for clip in good], mean(got.values())),
        "unknown_other": _grown([got[clip.number] for clip in other], mean(got.values())),
    }


def _grown(counts: Sequence[int], usual: float) -> Json:
    if not counts:
        return {"videos": 0}
    return {
        "videos": len(counts),
        "impressions_mean": round(mean(counts), 2),
        "found": round(sum(count >= FOUND * usual > 0 for count in counts) / len(counts), 4),
    }


def _by_creator(plan: Plan, views: Iterable[View]) -> list[int]:
    served = Counter(view.clip.creator for view in views)
    return [served[creator] for creator in sorted({clip.creator for clip in plan.clips})]


def gini(counts: Sequence[int]) -> float:
    """0: all alike; towards 1: one has everything."""
    ordered, total = sorted(counts), sum(counts)
    if not total:
        return 0.0
    n = len(ordered)
    return sum((2 * i - n + 1) * count for i, count in enumerate(ordered)) / (n * total)


def _repeats(views: Iterable[View]) -> int:
    """Videos served to somebody who had watched them before."""
    watched: set[tuple[int, int]] = set()
    repeats = 0
    for view in views:
        key = (view.person, view.clip.number)
        repeats += key in watched
        if view.nth >= 0:
            watched.add(key)
    return repeats
