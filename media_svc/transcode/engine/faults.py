"""What the probe and its child agree on, kept apart so that only the child loads the media libraries."""

from enum import StrEnum

# The demuxers of the accepted containers: never a playlist or a script, which would name other files to open.
FORMAT_WHITELIST = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"


def decoder_pixels(limit: int) -> int:
    """The limit as decoders are told it: they count rows padded for alignment, which a frame of just the limit
    must not fail on. The limit itself is checked on what headers and the first frame say."""
    return limit + limit // 8


class Fault(StrEnum):
    """What stopped the child; the parent turns it into words."""

    EMPTY = "empty"
    UNKNOWN_KIND = "unknown_kind"
    INDEX_MISSING = "index_missing"
    CUT = "cut"
    UNREADABLE = "unreadable"
    NO_VIDEO = "no_video"
    NO_DECODER = "no_decoder"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LONG = "too_long"
    TOO_MANY_PACKETS = "too_many_packets"
    DAMAGED_PACKET = "damaged_packet"
    UNDECODABLE = "undecodable"
