"""Writing to descriptors that others share."""

import os

import pytest
from dynamic_pipeline.descriptors import write_all

from tests.doubles import Spawned

LARGE = os.urandom(1 << 20)


def test_a_pipe_that_somebody_made_non_blocking_gets_everything() -> None:
    """No room is waited for, not taken for a fault."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def write() -> None:
        write_all(writer, LARGE)
        os.close(writer)

    writing = Spawned(write)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == LARGE
    writing.result()


def test_a_reader_that_has_gone_is_told() -> None:
    """Waiting for room ends when nobody is there to make it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file, pytest.raises(BrokenPipeError):
        write_all(file.fileno(), LARGE)
