"""The ports of the job queue. Every adapter passes `tests/contract/test_transcode_jobs.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

VERIFY = "verify"
"""Check an upload's digest; the subject is the upload."""
TRANSCODE = "transcode"
"""Make a media set's renditions; the subject is the set."""


@dataclass(frozen=True, slots=True)
class Job:
    """One leased job. `lease` names this very claim: a later one of the same job has another."""

    id: int
    kind: str
    subject_id: int
    attempt: int
    """From 1; grows with each claim, also after a crash."""
    lease: str


class JobTx(Protocol):
    """Jobs as part of a write transaction. There is at most one job for a kind and subject."""

    async def enqueue_job(self, kind: str, subject_id: int) -> None:
        """Have a job, due now; one that is there stays as it is."""
        ...

    async def remove_job(self, kind: str, subject_id: int) -> None:
        """Drop a job, also a running one: its holder learns at its next heartbeat."""
        ...

    async def holds_job(self, job: Job) -> bool:
        """Whether this claim still holds the job. A holder commits results only in a transaction where it does."""
        ...


class JobQueue(Protocol):
    """Claims and their leases, each call in a transaction of its own."""

    async def claim(self, kind: str, holder: str, limit: int, lease_s: float) -> Sequence[Job]:
        """Lease up to `limit` due jobs, the longest due first: free ones, those whose lease ran out, and those whose
        holder's process is certainly gone."""
        ...

    async def extend(self, job: Job, lease_s: float) -> bool:
        """Hold on for `lease_s` from now; false when the job is gone or somebody else's."""
        ...

    async def retry(self, job: Job, delay_s: float, error: str, *, counts: bool = True) -> None:
        """Give the job back, due after `delay_s`; unless it `counts`, the claim was no attempt. Nothing when the claim
        no longer holds it."""
        ...

    async def release(self, job: Job) -> None:
        """Give the job back as if it had not been claimed. Nothing when the claim no longer holds it."""
        ...

    async def finish(self, job: Job) -> None:
        """Remove the job. Nothing when the claim no longer holds it."""
        ...

    async def count(self, kind: str) -> int:
        """Jobs of a kind, waiting and running."""
        ...
