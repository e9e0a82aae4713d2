"""What a member of a Kafka group holds, shared by its thread, the driver's and the event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from svc_kit.bus.port import Delivery, Position


class Holdings:
    """Partitions held, records fetched of them, and what of those the application works on.

    Each time a partition comes, or its place is moved by `seek`, a new tenure of it begins: what was delivered in an
    earlier one can't be committed. A partition that goes while the application works on records of it is `yielding`:
    until that work is committed or given up, its next owner has to wait, and the commit is still good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tenures: dict[Position, int] = {}
        self._last = 0
        self._fetched: dict[Position, deque[Delivery]] = {}
        self._delivered: dict[Position, int] = {}
        self._at_work: set[Position] = set()
        self._yielding: set[Position] = set()
        self._committed: dict[Position, int] = {}
        self._turn = 0
        self._taken: tuple[Delivery, ...] = ()
        self._taken_marks: dict[Position, int] = {}

    @property
    def epoch(self) -> int:
        """Changes with the tenures."""
        return self._last

    @property
    def waiting(self) -> int:
        """Records fetched that the application has not asked for."""
        with self._lock:
            return sum(map(len, self._fetched.values()))

    def came(self, positions: Collection[Position]) -> None:
        """New tenures begin."""
        with self._lock:
            self._last += 1
            for position in positions:
                self._begin(position)

    def _begin(self, position: Position) -> None:
        self._tenures[position] = self._last
        self._fetched.pop(position, None)
        self._committed.pop(position, None)

    def went(self, positions: Collection[Position], *, lost: bool) -> None:
        """The member does not hold these any more; `lost`: somebody else may already."""
        with self._lock:
            self._last += 1
            for position in positions:
                self._tenures.pop(position, None)
                self._fetched.pop(position, None)
            self._yielding = set() if lost else self._yielding | (self._at_work & set(positions))

    def moved(self, positions: Collection[Position]) -> None:
        """`seek` moved the place of these."""
        with self._lock:
            self._last += 1
            for position in positions:
                if position in self._tenures:
                    self._begin(position)

    def holds(self, positions: Collection[Position]) -> bool:
        """Whether all of these are held."""
        with self._lock:
            return all(position in self._tenures for position in positions)

    def fetched(self, found: Mapping[Position, Sequence[Delivery]]) -> None:
        """Keep records of partitions that are still held."""
        with self._lock:
            for position, deliveries in found.items():
                if position in self._tenures:
                    self._fetched.setdefault(position, deque()).extend(deliveries)

    def take(self, limit: int) -> tuple[Delivery, ...]:
        """At most `limit` of the records fetched, for the application to work on. Each call begins at another
        partition, so that a long one can't starve the rest."""
        with self._lock:
            taken: list[Delivery] = []
            marks: dict[Position, int] = {}
            positions = sorted(self._fetched)
            self._turn += 1
            for i in range(len(positions)):
                position = positions[(self._turn + i) % len(positions)]
                waiting = self._fetched[position]
                if len(taken) + len(waiting) <= limit:
                    taken.extend(self._fetched.pop(position))
                elif room := limit - len(taken):
                    taken.extend([waiting.popleft() for _ in range(room)])
                else:
                    break
                marks[position] = taken[-1].offset + 1
                self._delivered[position] = self._tenures[position]
                self._at_work.add(position)
            self._taken, self._taken_marks = tuple(taken), marks
            return self._taken

    def marks(self, deliveries: Sequence[Delivery]) -> dict[Position, int]:
        """For each partition the offset that follows the last of `deliveries`."""
        if deliveries is self._taken:  # as nearly always, and there may be hundreds
            return self._taken_marks
        marks: dict[Position, int] = {}
        for record, partition, offset in deliveries:
            position = (record.topic, partition)
            if offset >= marks.get(position, 0):
                marks[position] = offset + 1
        return marks

    def rest(self) -> None:
        """The application asks for more: what it did not commit, it will not."""
        with self._lock:
            self._at_work.clear()
            self._yielding.clear()

    @property
    def is_yielding(self) -> bool:
        """Whether a next owner waits for work at hand."""
        return bool(self._yielding)

    def to_commit(self, marks: Mapping[Position, int]) -> tuple[dict[Position, int], list[Position]]:
        """Of `marks` (the offset that follows the handled ones): those to write, and the partitions not ours."""
        with self._lock:
            good: dict[Position, int] = {}
            fenced = []
            for position, following in marks.items():
                tenure = self._tenures.get(position)
                if position in self._yielding or (tenure is not None and tenure == self._delivered.get(position)):
                    if following > self._committed.get(position, -1):
                        good[position] = following
                else:
                    fenced.append(position)
            return good, fenced

    def committed(self, marks: Mapping[Position, int]) -> None:
        """These were written."""
        with self._lock:
            for position, following in marks.items():
                self._at_work.discard(position)
                self._yielding.discard(position)
                if position in self._tenures:
                    self._committed[position] = following
