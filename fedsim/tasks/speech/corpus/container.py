"""What the header of a sound file says of its length, held against the bytes that follow it.

libsndfile takes a header at its word: it stops where the header says that the sound ends, and much of
what was cut off passes. So the stream is walked before it is decoded: the chunks of a wav, the frames of
an mp3, the last frame of a flac, the pages of an ogg. What is not whole is named. A header that leaves
the length open, as one written into a pipe does, or that states too little, is replaced in memory; a
right one is left alone.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import Literal

TRUNCATED = "is truncated"
DAMAGED = "is damaged"
UNREADABLE = "is not audio that can be read"
FOREIGN = "is not wav, flac, ogg or mp3"
SEVERAL = "holds more than one stream"
LONGER = "holds more than its header says"

_STREAMED = 0x7FFFF000  # bytes of sound that a wav in a pipe states, or more, or none: "until the end"
_UNEXPLAINED = 4096  # bytes behind the sound of a wav that need be no chunks: padding, a tag
_FOREIGN = (b"FORM", b".snd", b"caff", b"riff")
_KBPS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # layer III of MPEG 2 and 2.5
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # of MPEG 1
)
_RATES_HZ = (44_100, 48_000, 32_000)
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # how a frame of layer III begins
_SHARED = 0xFFFE0C00  # bits of its header that all frames of an mp3 stream share
_LAST_FRAME = 1 << 21  # bytes: no frame of a flac is longer
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def mend(raw: bytes) -> io.BytesIO | str | None:
    """The file with a header that states its length; None if it has one; or why it cannot be used."""
    start = _tag(raw, 0)
    magic = raw[start : start + 4]
    if magic in (b"RIFF", b"RIFX", b"RF64"):
        return _wav(raw, start, "big" if magic == b"RIFX" else "little")
    if magic == b"fLaC":
        return _flac(raw, start)
    if magic == b"OggS":
        return _ogg(raw, start)
    return FOREIGN if magic in _FOREIGN else _mp3(raw)


def _number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "big")


def _patched(raw: bytes, at: int, field: bytes) -> io.BytesIO:
    return io.BytesIO(b"".join((raw[:at], field, raw[at + len(field) :])))


def _tag(raw: bytes, at: int) -> int:
    """Bytes of the ID3 tag at ``at``; 0 if there is none."""
    if raw[at : at + 3] == b"TAG":
        return 128
    if raw[at : at + 3] != b"ID3":
        return 0
    return 10 + sum((byte & 127) << 7 * place for place, byte in enumerate(reversed(raw[at + 6 : at + 10])))


def _wav(raw: bytes, start: int, order: Literal["big", "little"]) -> io.BytesIO | str | None:
    at, long = start + 12, 0
    while (name := raw[at : at + 4]) != b"data":
        if at + 8 > len(raw):
            return UNREADABLE
        if name == b"ds64":
            long = at + 16  # where the 64 bits stand that the 32 of the chunk refer to
        at = _behind(raw, at, order)
    start = at + 8
    field, width = (long, 8) if long and raw[at + 4 : start] == b"\xff" * 4 else (at + 4, 4)
    length = int.from_bytes(raw[field : field + width], order)
    at = start + length
    if length >= (_STREAMED if width == 4 else 1 << 63) or (length == 0 and not _chunks(raw, start, order)):
        return _patched(raw, field, (len(raw) - start).to_bytes(width, order))
    if at > len(raw):
        return TRUNCATED
    if len(raw) - at > _UNEXPLAINED and not _chunks(raw, at + length % 2, order):
        return LONGER
    return None


def _behind(raw: bytes, at: int, order: Literal["big", "little"]) -> int:
    """Where the chunk at ``at`` ends."""
    length = int.from_bytes(raw[at + 4 : at + 8], order)
    return at + 8 + length + length % 2


def _chunks(raw: bytes, at: int, order: Literal["big", "little"]) -> bool:
    """Whether chunks fill the file from ``at`` to its end."""
    while at + 8 <= len(raw):
        at = _behind(raw, at, order)
    return at in (len(raw), len(raw) + 1)  # the byte that makes a length even may be left out


def _ogg(raw: bytes, at: int) -> str | None:
    pages, last = 0, False
    while raw[at : at + 4] == b"OggS":
        table = raw[at + 27 : at + 27 + raw[at + 26]] if at + 27 <= len(raw) else b""
        end = at + 27 + len(table) + sum(table)
        if at + 27 > len(raw) or len(table) < raw[at + 26] or end > len(raw):
            return TRUNCATED
        if raw[at + 5] & 2 and pages:
            return SEVERAL
        page = raw[at : at + 22] + bytes(4) + raw[at + 26 : end]
        # Ogg's CRC is zlib's of the mirrored bytes, mirrored, from 0 and not inverted
        checksum = (zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big")
        if checksum.translate(_MIRRORED) != raw[at + 22 : at + 26]:
            return DAMAGED
        if int.from_bytes(raw[at + 18 : at + 22], "little") != pages:
            return DAMAGED
        last = bool(raw[at + 5] & 4)
        at, pages = end, pages + 1
    if raw.find(b"OggS", at) >= 0:
        return DAMAGED
    return None if last else TRUNCATED


def _flac(raw: bytes, start: int) -> io.BytesIO | str | None:
    stated = _number(raw, start + 21, 5) & (1 << 36) - 1
    at, closing = start + 4, False
    while not closing and at + 4 <= len(raw):
        closing, at = raw[at] >= 128, at + 4 + _number(raw, at + 1, 3)
    ended = _flac_end(raw, at, _number(raw, start + 8, 2))
    if stated > ended:
        return TRUNCATED
    if stated == ended:
        return None
    count = (_number(raw, start + 21, 5) & ~((1 << 36) - 1)) | ended
    return _patched(raw, start + 21, count.to_bytes(5, "big"))


def _flac_end(raw: bytes, first: int, block: int) -> int:
    """The samples of a flac stream, from the header of its last frame; 0 if it has none.

    Args:
        raw: the file.
        first: where its first frame begins.
        block: samples of every frame but the last, where frames are numbered.
    """
    sync, at, stop = raw[first : first + 2], len(raw), max(first, len(raw) - _LAST_FRAME)
    while sync in (b"\xff\xf8", b"\xff\xf9") and (at := raw.rfind(sync, stop, at)) >= 0:
        size, rate = divmod(_number(raw, at + 2, 1), 16)
        ones = 8 - (_number(raw, at + 4, 1) ^ 255).bit_length()  # the number is written as UTF-8 writes one
        behind = at + 4 + max(1, ones)
        number = raw[at + 4] & 127 >> ones if behind < len(raw) else 0
        for byte in raw[at + 5 : behind]:
            number = number << 6 | byte & 63
        if size in (6, 7):
            samples, behind = _number(raw, behind, size - 5) + 1, behind + size - 5
        else:
            samples = 192 if size == 1 else 576 << size - 2 if 2 <= size < 6 else 256 << max(0, size - 8)
        behind += {12: 1, 13: 2, 14: 2}.get(rate, 0)
        if size and behind < len(raw) and not _crc8(raw[at : behind + 1]):
            return samples + number * (block if sync == b"\xff\xf8" else 1)
    return 0


def _crc8(header: bytes) -> int:
    """The checksum of a flac frame's header (x^8 + x^2 + x + 1); 0 if the last byte is that of the rest."""
    crc = 0
    for byte in header:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 128 else 0)
    return crc


def _mp3(raw: bytes) -> io.BytesIO | str | None:
    frames: list[tuple[int, int]] = []
    infos: list[int] = []
    streams: set[int] = set()
    at, gap = 0, False
    while at < len(raw):
        length = _frame(raw, at)
        if frames and at == frames[-1][1] and len(raw) - at < 4 and raw[at] == 0xFF:
            return TRUNCATED  # within the header of a frame
        if not length:
            tag = _tag(raw, at)
            gap = gap or (not tag and bool(frames))
            at = at + tag if tag else _next(raw, at)
            continue
        if at + length > len(raw):
            return TRUNCATED
        if gap:
            return DAMAGED
        streams.add(_number(raw, at, 4) & _SHARED)
        stated = _stated(raw, at)
        if stated is None:
            frames.append((at, at + length))
        else:
            infos.append(stated)
        at += length
    if not frames:
        return UNREADABLE
    if len(streams) > 1:
        return SEVERAL
    if len(infos) == 1 and infos[0] > len(frames):
        return TRUNCATED
    if infos == [len(frames)]:
        return None
    sound = b"".join(raw[begin:end] for begin, end in frames)
    return io.BytesIO(_info(_number(sound, 0, 4), len(frames)) + sound)


def _frame(raw: bytes, at: int) -> int:
    """Bytes of the frame of layer III at ``at``; 0 if none begins there."""
    head = _number(raw, at, 4)
    version, layer, kbps, hertz = head >> 19 & 3, head >> 17 & 3, head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer != 1 or kbps in (0, 15) or hertz == 3:
        return 0
    rate_hz = _RATES_HZ[hertz] >> (2, 0, 1, 0)[version]
    return (144 if version == 3 else 72) * 1000 * _KBPS[version == 3][kbps] // rate_hz + (head >> 9 & 1)


def _next(raw: bytes, at: int) -> int:
    """Where two frames of one stream follow each other behind ``at``; else the end."""
    for found in _SYNC.finditer(raw, at + 1):
        here = found.start()
        following = here + _frame(raw, here)
        alike = not (_number(raw, here, 4) ^ _number(raw, following, 4)) & _SHARED
        if following > here and alike and _frame(raw, following):
            return here
    return len(raw)


def _side(head: int) -> int:
    """Bytes of a frame between its header and its sound."""
    first, mono = head >> 19 & 3 == 3, head >> 6 & 3 == 3
    return (17 if mono else 32) if first else (9 if mono else 17)


def _stated(raw: bytes, at: int) -> int | None:
    """The frames of sound that the frame at ``at`` states, 0 if it leaves that open; None: it is sound."""
    xing = at + 4 + _side(_number(raw, at, 4))
    if raw[xing : xing + 4] in (b"Xing", b"Info"):
        return _number(raw, xing + 8, 4) if _number(raw, xing + 4, 4) & 1 else 0
    return _number(raw, at + 50, 4) if raw[at + 36 : at + 40] == b"VBRI" else None


def _info(head: int, frames: int) -> bytes:
    """The frame that states the number of frames of sound, in the stream that ``head`` is the header of."""
    head = head & ~0xF200 | 0x1D000  # no checksum, no padding, and a rate of 256 or 128 kbps: long enough
    said = (
        head.to_bytes(4, "big")
        + bytes(_side(head))
        + b"Info"
        + (1).to_bytes(4, "big")
        + frames.to_bytes(4, "big")
    )
    return said.ljust(_frame(said, 0), b"\0")
