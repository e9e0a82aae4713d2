"""Shadow evaluation: two versions answer the same newest rows of the log, by the protocol of `docs/ranking.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from rank_svc.ranking.rows import cosines
from rank_svc.scorers.store import RANK_FEATURES, Floats, RankRows, Scorer
from rank_svc.train.dataset import Dataset, Ints
from rank_svc.train.histories import item_codes
from rank_svc.train.impressions import Rows, replay, usable
from rank_svc.train.judged import auc
from rank_svc.train.metrics import Question, best, chunks
from rank_svc.train.served import Content, content, viewers
from rank_svc.versions.newest import Newest, cut
from rank_svc.versions.verdict import Compared, Shadow

K = 50
BATCH = 256
OBJECTIVE = "completion"
"""What every version predicts, and what most impressions say something of."""
MOST_ROWS = 20_000
DRAWS = 200
"""Of the bootstrap over users."""
Numbers = NDArray[np.float64]


async def shadow(
    dataset: Dataset, serving: Scorer, candidate: Scorer, *, learned_until_ms: int = 0, same_ranker: bool = False
) -> Shadow:
    """Measure both. `learned_until_ms`: the newest row that one of them may have learned from. `same_ranker`: theirs
    are the same file, and not compared."""
    found = await anyio.to_thread.run_sync(lambda: cut(dataset, learned_until_ms=learned_until_ms))
    if isinstance(found, str):
        return Shadow(missing=[found])
    known = content(dataset.catalogue, dataset.items)
    answers = [await _Answers.of(scorer, dataset.catalogue, known, found) for scorer in (serving, candidate)]
    per_user = [await anyio.to_thread.run_sync(_per_user, found.asked, answer) for answer in answers]
    compared = [_paired(name, per_user[0][name], per_user[1][name]) for name in per_user[0]]
    ranked, missing, notes = await _rankers(dataset, found, known, answers, same_ranker=same_ranker)
    held_out = {
        "after": datetime.fromtimestamp(found.moment_ms / 1000, UTC).isoformat(timespec="seconds"),
        "users": len(found.asked.users),
        "positives": int(sum(map(len, found.asked.truth))),
        "items": found.asked.items,
    }
    return Shadow([*compared, *ranked], missing, held_out, notes)


class _Answers:
    """One version over the catalogue."""

    def __init__(self, scorer: Scorer, items: Floats, users: Floats) -> None:
        self.scorer, self.items, self.users = scorer, items, users

    @staticmethod
    async def of(scorer: Scorer, catalogue: Ints, known: Content, newest: Newest) -> _Answers:
        blocks = []
        for start in range(0, len(catalogue), BATCH):
            rows = np.arange(start, min(start + BATCH, len(catalogue)))
            blocks.append(await scorer.item_vectors(known.batch(catalogue[rows], rows)))
        items, asked = np.concatenate(blocks), newest.asked.users
        blocks = []
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            batch = viewers(newest.before, some, newest.moment_ms, catalogue, known, items)
            blocks.append(await scorer.user_vectors(batch))
        return _Answers(scorer, items, np.concatenate(blocks))


def _per_user(question: Question, answers: _Answers) -> dict[str, Numbers]:
    """[users] recall and NDCG of each."""
    gains = 1 / np.log2(np.arange(2, K + 2))
    recall, ndcg = np.zeros(len(question.users)), np.zeros(len(question.users))
    for part in chunks(question.users):
        scores = answers.users[part] @ answers.items.T
        for row, seen in zip(scores, question.seen[part], strict=True):
            row[seen] = -np.inf
        top = best(scores, K)
        for i, (row, right) in enumerate(zip(top, question.truth[part], strict=True), part.start):
            hits = np.isin(row, right) & (scores[i - part.start, row] > -np.inf)
            recall[i] = hits.sum() / len(right)
            ndcg[i] = (hits * gains[: len(row)]).sum() / gains[: min(len(right), K)].sum()
    return {f"recall@{K}": recall, f"ndcg@{K}": ndcg}


def _paired(name: str, serving: Numbers, candidate: Numbers) -> Compared:
    difference = candidate - serving
    error = float(difference.std(ddof=1) / len(difference) ** 0.5) if len(difference) > 1 else 0.0
    return Compared(name, float(serving.mean()), float(candidate.mean()), error, len(difference))


async def _rankers(
    dataset: Dataset, newest: Newest, known: Content, answers: Sequence[_Answers], *, same_ranker: bool
) -> tuple[list[Compared], list[str], list[str]]:
    """What the rankers are worth, or why that can't be told."""
    if same_ranker:
        return [], [], ["both have the same ranker"]
    if not usable(dataset.impressions):
        return [], ["the rankers differ, and the log has fewer than 500 impressions with times to compare them by"], []
    rows = await anyio.to_thread.run_sync(_replayed, dataset, newest, known)
    at, who = _measured(rows, newest)
    labels = rows.labels[OBJECTIVE][at]
    if not len(at) or labels.all() or not labels.any():
        return [], [f"the newest impressions say nothing of {OBJECTIVE}: all or none of them are"], []
    scores = [await _scores(answer, rows, at, who, dataset.catalogue, known, newest) for answer in answers]
    return [await anyio.to_thread.run_sync(_compared_aucs, labels, scores, who)], [], []


def _replayed(dataset: Dataset, newest: Newest, known: Content) -> Rows:
    assert dataset.impressions is not None
    # Watches of the same archive are in both tables: before the first impression there are only interactions.
    first = int(dataset.impressions.wholes["timestamp_ms"].min(initial=newest.moment_ms))
    rows, _ = replay(dataset, newest.before.where(newest.before.times_ms < first), known)
    return rows


def _measured(rows: Rows, newest: Newest) -> tuple[Ints, Ints]:
    """Rows of the newest part by users of whom there are histories: their numbers, and who each is among those."""
    late = np.flatnonzero(rows.times_ms > newest.moment_ms)
    who = item_codes(newest.before.users, rows.user_ids[rows.users[late]])
    late, who = late[who >= 0], who[who >= 0]
    if len(late) > MOST_ROWS:
        some = np.sort(np.random.default_rng(0).permutation(len(late))[:MOST_ROWS])
        late, who = late[some], who[some]
    order = np.argsort(who, kind="stable")
    return late[order], who[order]


async def _scores(
    answer: _Answers, rows: Rows, at: Ints, who: Ints, catalogue: Ints, known: Content, newest: Newest
) -> Floats:
    """[n] predictions, a call a user, as a feed makes them."""
    found = np.zeros(len(at), np.float32)
    starts = np.append(np.flatnonzero(np.append(True, who[1:] != who[:-1])), len(who))
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        batch = viewers(newest.before, who[start : start + 1], newest.moment_ms, catalogue, known, answer.items)
        taste = (await answer.scorer.user_vectors(batch))[0]
        codes = rows.items[at[start:end]]
        vectors, features = answer.items[codes], rows.features[at[start:end]].copy()
        features[:, RANK_FEATURES.index("affinity")] = cosines(taste, vectors)
        user_vectors = np.repeat(taste[None], len(codes), axis=0)
        ranked = RankRows(features, known.batch(catalogue[codes], codes), batch, vectors, user_vectors)
        found[start:end] = (await answer.scorer.rank(ranked)).values[OBJECTIVE]
    return found


def _compared_aucs(labels: NDArray[np.bool_], scores: Sequence[Floats], who: Ints) -> Compared:
    """AUC over all rows; its error by drawing users again and again."""
    users, first = np.unique(who, return_index=True)
    parts = np.split(np.arange(len(who)), first[1:])
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        at = np.concatenate([parts[i] for i in random.integers(0, len(parts), len(parts)).tolist()])
        serving, candidate = (auc(labels[at], score[at]) for score in scores)
        if serving is not None and candidate is not None:
            drawn.append(candidate - serving)
    serving, candidate = (auc(labels, score) or 0.5 for score in scores)
    return Compared(f"auc {OBJECTIVE}", serving, candidate, float(np.std(drawn)) if drawn else 0.0, len(users))


def report(shadow: Shadow) -> Mapping[str, Any]:
    """For JSON."""
    found: dict[str, Any] = {"held_out": shadow.held_out, "metrics": {c.name: c.shown() for c in shadow.compared}}
    if shadow.notes:
        found["notes"] = list(shadow.notes)
    return found
