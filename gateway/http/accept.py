"""Content negotiation."""

from __future__ import annotations

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"


def preferred(accept: str | None, offered: tuple[str, ...]) -> str | None:
    """The media type of `offered` that `Accept` prefers (at equal weight, the one it names first, then the one offered
    first); the first offered without `Accept`, None when it allows none."""
    if not accept or not accept.strip():
        return offered[0]
    best: tuple[float, int, int] | None = None
    chosen = None
    for place, part in enumerate(accept.split(",")):
        pattern, _, parameters = part.strip().lower().partition(";")
        weight = _weight(parameters)
        for rank, media_type in enumerate(offered):
            key = (-weight, place, rank)
            if weight > 0 and _matches(pattern.strip(), media_type) and (best is None or key < best):
                best, chosen = key, media_type
    return chosen


def _matches(pattern: str, media_type: str) -> bool:
    # A wildcard means an ordinary answer: nobody who sends `*/*` expects a stream or a page.
    if pattern in ("*/*", "application/*"):
        return media_type in (JSON, GRAPHQL_JSON)
    return pattern == media_type


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
