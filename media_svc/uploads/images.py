"""Avatars: decoded with limits, turned upright, cut square and written anew: only pixels of the upload remain."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG", "WEBP")
_QUALITY = 88
_LEAST_SIDE = 16


class BadImage(Exception):
    """The file is no acceptable image. `code` for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Avatar:
    """A square JPEG."""

    data: bytes
    side_px: int


def make_avatar(path: Path, max_pixels: int, side_px: int) -> Avatar:
    """A JPEG of at most `side_px` a side. Blocking. Raises `BadImage`; nothing over `max_pixels` is decoded."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_size(image.width, image.height, max_pixels)
            # Decodes a JPEG at a fraction of its size where that is enough.
            image.draft("RGB", (side_px * 2, side_px * 2))
            upright = ImageOps.exif_transpose(image)
            side = min(*upright.size, side_px)
            square = ImageOps.fit(_opaque(upright), (side, side), Image.Resampling.LANCZOS)
    except UnidentifiedImageError:
        raise BadImage("NOT_AN_IMAGE", "The file is not an image; JPEG, PNG and WebP images are accepted.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BadImage("CORRUPT", "The image is damaged: it cannot be read.") from None
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return Avatar(buffer.getvalue(), side)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        pixels, limit = width * height / 1e6, max_pixels / 1e6
        raise BadImage(
            "TOO_MANY_PIXELS",
            f"The image has {width}x{height} = {pixels:.4g} megapixels; the limit is {limit:g} megapixels.",
        )
    if min(width, height) < _LEAST_SIDE:
        message = f"The image is {width}x{height} pixels; the least is {_LEAST_SIDE} on either side."
        raise BadImage("TOO_SMALL", message)


def _opaque(image: Image.Image) -> Image.Image:
    """On white where it is transparent: JPEG has no transparency."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")
