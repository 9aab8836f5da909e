"""How far inputs were read, as a mark that tells later whether all bytes before it are what they were."""

from __future__ import annotations

from hashlib import blake2b

from dynamic_pipeline.journal.operations import InputMark

_RULES = b"records 1"  # how records are made of bytes: other rules, and no old mark fits


class Marker:
    """Follows the bytes of one input after the other; a mark always stands behind a separator."""

    def __init__(self, separator: bytes) -> None:
        self._separator = separator
        self._hash = blake2b(_RULES, digest_size=16)  # of all bytes so far
        self._source = self._offset = self._line = 0
        self._behind: InputMark | None = None  # the last separator that was read

    def begin_source(self, number: int) -> None:
        """What follows are the bytes of input *number*, from 0; the one before it was read to its end."""
        if number:
            # Where one ends and the next begins matters too.
            self._hash.update(self._offset.to_bytes(8, "big"))
        self._source, self._offset, self._line = number, 0, 0

    def read(self, chunk: bytes) -> None:
        cut = chunk.rfind(self._separator) + 1
        if cut:
            self._hash.update(memoryview(chunk)[:cut])
            self._line += chunk.count(self._separator)
            self._behind = InputMark(self._source, self._offset + cut, self._line, self._hash.digest())
        self._hash.update(memoryview(chunk)[cut:])
        self._offset += len(chunk)

    @property
    def behind(self) -> InputMark | None:
        """The place behind the last separator that was read; None before the first."""
        return self._behind
