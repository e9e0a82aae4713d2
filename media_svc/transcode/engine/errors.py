"""What can go wrong with a video: its own fault (rejected) or the conversion's (failed)."""

from enum import StrEnum


class RejectCode(StrEnum):
    """Machine reason why a file is no acceptable video."""

    EMPTY = "EMPTY"
    NOT_A_VIDEO = "NOT_A_VIDEO"
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    UNSUPPORTED = "UNSUPPORTED"
    CORRUPT = "CORRUPT"
    TOO_LARGE = "TOO_LARGE"
    TOO_LONG = "TOO_LONG"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"


class MediaRejected(Exception):
    """The file itself is unacceptable, and will be however often it is tried again.

    `message` is for the person who uploaded it: it names the limit and the value, and holds no tool's text.
    """

    def __init__(self, code: RejectCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TranscodeFailed(Exception):
    """The conversion did not succeed. `retryable`: another attempt may (memory, disk, deadline, a killed
    child).

    `message` is for people; `detail` (the tool's last lines) is for the log only. `code` is set when the
    file is to blame.
    """

    def __init__(self, retryable: bool, message: str, *, code: RejectCode | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.message = message
        self.code = code
        self.detail = detail


class ToolsMissing(Exception):
    """No usable ffmpeg on this machine; the message says what was looked at and what is missing."""


class OutputInvalid(Exception):
    """The finished output does not hold together (a playlist, a segment or a keyframe is not as promised)."""
