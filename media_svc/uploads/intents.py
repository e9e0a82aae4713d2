"""What a client says it will upload, checked before anything is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from svc_kit.errors import UserCode, Violation, invalid_all
from svc_kit.text import printable

VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm", "video/x-matroska")
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes, parts and uploads at a time."""

    video_bytes: int
    image_bytes: int
    part_bytes: int
    parts: int
    open_uploads: int
    quota_bytes: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Intent:
    """A checked announcement. Digests are lower-case hex."""

    file_name: str
    content_type: str
    is_image: bool
    size_bytes: int
    part_size_bytes: int
    sha256: str
    part_sha256: tuple[str, ...]


def check_intent(
    limits: UploadLimits, file_name: str, content_type: str, size_bytes: int, sha256: str, part_sha256: tuple[str, ...]
) -> Intent:
    """The announcement, or BAD_USER_INPUT naming every wrong field."""
    kind = content_type.partition(";")[0].strip().lower()
    is_image = kind in IMAGE_TYPES
    part_size = part_size_for(size_bytes, limits)
    violations = [
        *_check_name(file_name),
        *_check_kind(kind),
        *_check_size(size_bytes, limits.image_bytes if is_image else limits.video_bytes),
        *_check_digest("sha256", sha256),
        *_check_parts(part_sha256, size_bytes, part_size),
    ]
    if violations:
        raise invalid_all(violations)
    digests = tuple(digest.lower() for digest in part_sha256)
    return Intent(file_name, kind, is_image, size_bytes, part_size, sha256.lower(), digests)


def part_size_for(size_bytes: int, limits: UploadLimits) -> int:
    """5 MiB; for more than 1000 such parts, the whole MiB that makes them fewer."""
    if size_bytes <= limits.part_bytes * limits.parts:
        return limits.part_bytes
    mebibyte = 1 << 20
    return -(-size_bytes // (limits.parts * mebibyte)) * mebibyte


def _check_name(file_name: str) -> list[Violation]:
    if printable(file_name):
        return []
    return [Violation("file_name", "file_name must not hold control characters.", UserCode.INVALID)]


def _check_kind(kind: str) -> list[Violation]:
    accepted = (*VIDEO_TYPES, *IMAGE_TYPES)
    if kind in accepted:
        return []
    message = f"content_type must be one of {', '.join(accepted)}; it is {kind}."
    return [Violation("content_type", message, UserCode.INVALID)]


def _check_size(size_bytes: int, limit: int) -> list[Violation]:
    if size_bytes < 1:
        message = f"size_bytes must be at least 1; it is {size_bytes}."
        return [Violation("size_bytes", message, UserCode.INVALID)]
    if size_bytes > limit:
        message = f"size_bytes must be at most {limit}; it is {size_bytes}."
        return [Violation("size_bytes", message, UserCode.TOO_LARGE)]
    return []


def _check_digest(field: str, digest: str) -> list[Violation]:
    if _DIGEST.fullmatch(digest):
        return []
    message = f"{field} must be 64 hexadecimal digits; it has {len(digest)} characters."
    return [Violation(field, message, UserCode.INVALID)]


def _check_parts(part_sha256: tuple[str, ...], size_bytes: int, part_size: int) -> list[Violation]:
    if not part_sha256 or size_bytes < 1:
        return []
    count = -(-size_bytes // part_size)
    if len(part_sha256) != count:
        message = f"part_sha256 must have none or {count} digests, one for each part; it has {len(part_sha256)}."
        return [Violation("part_sha256", message, UserCode.INVALID)]
    wrong = (_check_digest(f"part_sha256.{index}", digest) for index, digest in enumerate(part_sha256))
    return [violation for found in wrong for violation in found]
