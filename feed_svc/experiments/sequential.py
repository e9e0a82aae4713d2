"""A test that may be looked at after every viewer: the mixture sequential probability ratio test.

R. Johari, L. Pekelis, D. Walsh: "Always Valid Inference: Bringing Sequential Analysis to A/B Testing" (2015, revised
2019; KDD 2017: "Peeking at A/B Tests"). With the difference of means D of two arms, its variance
V = s_a^2 / n_a + s_b^2 / n_b and a normal mixture N(0, tau^2) over true differences, the likelihood ratio against
"no difference" is

    L = sqrt(V / (V + tau^2)) * exp(tau^2 * D^2 / (2 V (V + tau^2)))

Under "no difference" L is (asymptotically) a martingale of mean 1, so P(ever L >= 1 / alpha) <= alpha: the always-valid
p is the running minimum of 1 / L, and the confidence sequence holds all differences whose L stays below 1 / alpha:

    D +- sqrt(V (V + tau^2) / tau^2 * (2 ln(1 / alpha) + ln((V + tau^2) / V)))

Variances are estimated, which the theory allows for from a number of viewers on; below `LEAST` in either arm nothing is
claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LEAST = 30
"""Viewers in each arm before anything is claimed."""


@dataclass(slots=True)
class Moments:
    """Running mean and variance (Welford)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    @property
    def variance(self) -> float:
        """Of the values, unbiased; 0 below two."""
        return self.squares / (self.count - 1) if self.count > 1 else 0.0


@dataclass(slots=True)
class SequentialTest:
    """Compares the mean of `other` with that of `control` after every value."""

    alpha: float
    effect: float
    """tau in standard deviations of a viewer's value."""
    control: Moments = field(default_factory=Moments)
    other: Moments = field(default_factory=Moments)
    p_value: float = 1.0
    """Always valid: never grows."""
    low: float = -math.inf
    high: float = math.inf
    """The confidence sequence: never widens; contains the true difference all the time with probability 1 - alpha."""

    @property
    def difference(self) -> float:
        """Mean of `other` less mean of `control`."""
        return self.other.mean - self.control.mean

    @property
    def is_decided(self) -> bool:
        """Whether "no difference" is refused."""
        return self.p_value <= self.alpha

    def add(self, value: float, *, is_control: bool) -> None:
        """One more viewer's value; then look."""
        (self.control if is_control else self.other).add(value)
        self._look()

    def _look(self) -> None:
        a, b = self.control, self.other
        if min(a.count, b.count) < LEAST:
            return
        variance = a.variance / a.count + b.variance / b.count
        tau2 = self.effect**2 * ((a.squares + b.squares) / (a.count + b.count - 2))
        if variance <= 0 or tau2 <= 0:
            return  # everybody did the same: there is nothing to tell apart
        both = variance + tau2
        log_ratio = 0.5 * math.log(variance / both) + tau2 * self.difference**2 / (2 * variance * both)
        self.p_value = min(self.p_value, math.exp(-max(0.0, min(log_ratio, 700.0))))
        width = math.sqrt(variance * both / tau2 * (2 * math.log(1 / self.alpha) + math.log(both / variance)))
        self.low = max(self.low, self.difference - width)
        self.high = min(self.high, self.difference + width)
