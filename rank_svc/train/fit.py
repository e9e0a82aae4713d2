"""Training the towers: deterministic for a seed and a number of steps, resumable at each epoch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rank_svc.train.around import Around
from rank_svc.train.batches import Material, batches, material, negative_chances, span_scale, steps_per_epoch
from rank_svc.train.combined import Combined
from rank_svc.train.dataset import Ints
from rank_svc.train.held import Held, hold_out
from rank_svc.train.histories import Histories
from rank_svc.train.linear import fit_linear
from rank_svc.train.loss import Negatives, sampled_softmax, tensors
from rank_svc.train.options import TowerOptions
from rank_svc.train.towers import TwoTower
from rank_svc.train.weigh import choose

Progress = Callable[[int, int, str], None]
"""(step, steps, what to show)"""
PACE_STEPS = 20


@dataclass(slots=True)
class Fitted:
    """What came of it."""

    model: Combined
    """With averaged weights, in evaluation mode."""
    source: Material
    catalogue: Ints
    steps: int
    cpu_seconds: float
    looks: list[tuple[int, float]] = field(default_factory=list)
    """(step, recall@50 of the held-out rows)"""
    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean loss since the last look)"""
    choice: dict[str, float] = field(default_factory=dict)
    """Of the linear part: see `rank_svc.train.weigh.choose`."""


@dataclass(slots=True)
class _Run:
    model: TwoTower | Around
    average: list[Tensor]
    optimizer: torch.optim.Optimizer
    random: np.random.Generator
    generator: torch.Generator
    total: int
    step: int = 0
    epoch: int = 0
    best: float = -1.0
    worse: int = 0
    stopped: bool = False
    kept: list[Tensor] = field(default_factory=list)
    looks: list[tuple[int, float]] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)


def fit(
    histories: Histories,
    catalogue: Ints,
    options: TowerOptions,
    *,
    seed: int = 0,
    minutes: float | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train on all histories but the newest rows of a few users, which say when to stop. Resumes from `checkpoint`
    when that is of the same data, options and seed; removes it at the end."""
    began, cpu = time.monotonic(), time.process_time()
    held = hold_out(histories, catalogue, options, seed)
    source = material(held.histories, catalogue, options)
    runs = []
    count = options.members + options.around_members
    if count < 1:
        raise ValueError("--option members=0 with around_members=0: there has to be one network")
    places = [None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.{i}") for i in range(count)]
    for i, place in enumerate(places):
        limit = None if minutes is None else began + minutes * 60 * (i + 1) / len(places)
        mine = seed + 1_000_003 * i
        run = _start(source, options, mine, around=i >= options.members, ordered=histories.ordered)
        _member(run, source, options, mine, held, limit, place, progress)
        runs.append(run)
    every = material(held.histories, catalogue, options, longest=None)
    model = Combined([run.model for run in runs], options, fit_linear(every, options, seed=seed)).eval()
    _weigh(model, source, options)
    choice = choose(model, every, held, options, seed, unlike=span_scale(histories) > 1)
    for place in places:
        if place is not None:
            place.unlink(missing_ok=True)
    looks, losses = ([entry for run in runs for entry in getattr(run, name)] for name in ("looks", "losses"))
    steps, spent = sum(run.step for run in runs), time.process_time() - cpu
    return Fitted(model, source, catalogue, steps, spent, looks, losses, choice)


def _member(
    run: _Run,
    source: Material,
    options: TowerOptions,
    seed: int,
    held: Held,
    limit: float | None,
    checkpoint: Path | None,
    progress: Progress | None,
) -> None:
    """Train one network; its checkpoint stays until all are done."""
    key = _key(source, options, seed)
    if checkpoint is not None and checkpoint.is_file():
        _resume(run, checkpoint, key)
    negatives = Negatives(torch.from_numpy(negative_chances(source, options)), run.generator, logq=options.logq)
    while run.step < run.total and source.users and not run.stopped:
        run.stopped = not _epoch(run, source, options, negatives, held, limit, progress)
        run.epoch += 1
        if checkpoint is not None:
            _save(run, checkpoint, key)
    _load(run.model, run.kept or run.average)
    run.model.eval()


def _weigh(model: Combined, source: Material, options: TowerOptions) -> None:
    """Give the linear part its weight against the networks."""
    model.linear_scale = options.linear_weight * len(model.members)
    if source.users:
        with torch.no_grad():
            model.linear_scale = 0.0
            own = model.vectors(source, np.arange(min(200, source.users)))
            model.linear_scale = options.linear_weight * float((own @ model.items()[1:].T).std(1, correction=0).mean())


def _start(source: Material, options: TowerOptions, seed: int, *, around: bool, ordered: bool) -> _Run:
    torch.manual_seed(seed)
    kind = Around if around else TwoTower
    model = kind(source.items, options, ordered=ordered)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    total = options.steps or planned_steps(steps_per_epoch(source, options), options)
    average = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(seed)
    return _Run(model, average, optimizer, np.random.default_rng(seed), generator, total)


def planned_steps(each: int, options: TowerOptions) -> int:
    """Of `each` steps an epoch: `epochs`, more of them in small logs."""
    return math.ceil(max(options.epochs * each, min(options.least_steps, options.most_epochs * each)))


def _epoch(
    run: _Run,
    source: Material,
    options: TowerOptions,
    negatives: Negatives,
    held: Held,
    limit: float | None,
    progress: Progress | None,
) -> bool:
    """One round over all users; False: it is time to stop."""
    every = max(1, run.total // options.looks)
    losses: list[float] = []
    began, first = time.monotonic(), run.step
    for batch in batches(source, options, run.random):
        if not batch.target.any():
            continue
        losses.append(_step(run, options, sampled_step(run, tensors(batch), negatives)))
        if progress is not None:
            progress(run.step, run.total, f"loss {losses[-1]:.3f}  held-out recall@50 {max(run.best, 0):.4f}")
        now = time.monotonic()
        if limit is not None:
            if run.step - first == PACE_STEPS and run.epoch == 0:
                # The rate falls to 0 at the last step: with too little time, plan for fewer steps.
                pace = (now - began) / PACE_STEPS
                run.total = min(run.total, run.step + max(1, int((limit - now) * 0.9 / pace)))
            if now >= limit:
                run.total = run.step
        done = run.step >= run.total
        if run.step % every == 0 or done:
            run.losses.append((run.step, float(np.mean(losses))))
            losses = []
            if not _look(run, held, options) or done:
                return False
    return True


def sampled_step(run: _Run, batch: Any, negatives: Negatives) -> Tensor:
    """The loss, in bfloat16 where the processor multiplies it fast."""
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
        return sampled_softmax(run.model, batch, negatives)


def fast_bfloat16() -> bool:
    """Whether this processor says that it multiplies bfloat16 itself."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _step(run: _Run, options: TowerOptions, loss: Tensor) -> float:
    rate = options.rate * min(1.0, (run.step + 1) / max(1, min(options.warm, run.total // 5)))
    rate *= 0.5 * (1 + math.cos(math.pi * run.step / run.total))
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = list(run.model.parameters())
    torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    run.optimizer.step()
    run.step += 1
    decay = min(options.average, (run.step + 1) / (run.step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(run.average, parameters, 1 - decay)
    return float(loss.detach())


def _look(run: _Run, held: Held, options: TowerOptions) -> bool:
    """Measure the averaged weights; keep the best. False: it has been getting worse."""
    if not held.usable:
        return True
    raw = [p.detach().clone() for p in run.model.parameters()]
    _load(run.model, run.average)
    run.model.eval()
    value, error = held.recall(Combined([run.model], options))
    run.model.train()
    _load(run.model, raw)
    run.looks.append((run.step, value))
    # A few hundred users can't tell small differences: of looks as good as the best the last is kept.
    run.best = max(run.best, value)
    if value >= run.best - error:
        run.worse, run.kept = 0, [p.clone() for p in run.average]
    else:
        run.worse += 1
    return run.worse <= options.patience


def _load(model: TwoTower | Around, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)


def _key(source: Material, options: TowerOptions, seed: int) -> str:
    digest = hashlib.sha256(json.dumps([asdict(options), seed, source.items], sort_keys=True).encode())
    for array in (source.starts, source.rows, source.actions, source.ages):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save(run: _Run, path: Path, key: str) -> None:
    state = {
        "key": key,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "average": run.average,
        "kept": run.kept,
        "random": json.dumps(run.random.bit_generator.state),
        "generator": run.generator.get_state(),
        "torch": torch.get_rng_state(),
        "plain": (run.total, run.step, run.epoch, run.best, run.worse, run.stopped, run.looks, run.losses),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    torch.save(state, fresh)
    os.replace(fresh, path)


def _resume(run: _Run, path: Path, key: str) -> None:
    try:
        state = torch.load(path, weights_only=True)
    except Exception:  # whatever is wrong with it, training can begin anew
        return
    if not isinstance(state, dict) or state.get("key") != key:
        return
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.average, run.kept = state["average"], state["kept"]
    run.random.bit_generator.state = json.loads(state["random"])
    run.generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    run.total, run.step, run.epoch, run.best, run.worse, run.stopped, run.looks, run.losses = state["plain"]
