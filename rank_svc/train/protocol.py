"""The one protocol that everything is measured by: `docs/ranking.md` states it in words."""

from __future__ import annotations

import numpy as np

from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import Dataset, Ints
from rank_svc.train.histories import Histories, item_codes
from rank_svc.train.metrics import Question


def question(dataset: Dataset, histories: Histories, truth: tuple[Ints, Ints]) -> Question:
    """Truth's users with a positive in the dataset are asked for all of its items but those that they have a row of.

    What is right counts in full: an item that the user has seen, or that is in no file of the dataset, can't be found.
    Raises DatasetError when there is nobody to ask.
    """
    catalogue = dataset.catalogue
    codes = item_codes(catalogue, histories.items)
    with_positive = np.bincount(histories.owner[histories.positive], minlength=len(histories.users)) > 0
    users, items = truth
    place = item_codes(histories.users, users)
    asked = (place >= 0) & with_positive[place]
    place, right = place[asked], item_codes(catalogue, items[asked])
    if not len(place):
        raise DatasetError("truth: none of its users has a positive in the dataset")
    order = np.argsort(place, kind="stable")
    place, right = place[order], right[order]
    who, first = np.unique(place, return_index=True)
    starts = histories.starts
    shown = _by_user(item_codes(histories.users, dataset.shown.user_ids), item_codes(catalogue, dataset.shown.item_ids))
    nothing = np.zeros(0, np.int64)
    return Question(
        items=len(catalogue),
        users=who,
        seen=[np.append(codes[starts[u] : starts[u + 1]], shown.get(u, nothing)) for u in who.tolist()],
        truth=np.split(right, first[1:]),
        popularity=np.bincount(codes, minlength=len(catalogue)),
    )


def _by_user(users: Ints, items: Ints) -> dict[int, Ints]:
    order = np.argsort(users, kind="stable")
    who, first = np.unique(users[order], return_index=True)
    return dict(zip(who.tolist(), np.split(items[order], first[1:]), strict=False))
