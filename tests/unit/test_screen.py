"""The bottom of a terminal: real descriptors of a pty, and an emulator that shows what is there."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyte
import pytest
from dynamic_pipeline.sinks.screen import Screen, colors_of
from rich.text import Text


class Pty:
    """A terminal of 40 x 10, and a screen at its bottom. A narrower one keeps what it shows, as emulators do that fold nothing."""

    def __init__(self) -> None:
        self._ours, self.fd = pty.openpty()
        self._emulator = pyte.Screen(40, 10)
        self._stream = pyte.ByteStream(self._emulator)
        self.screen = Screen(self.fd, colors=None, size=lambda _: os.terminal_size((40, 10)))

    @property
    def lines(self) -> list[str]:
        while select.select([self._ours], [], [], 0)[0]:
            self._stream.feed(os.read(self._ours, 1 << 16))
        return [line.rstrip() for line in self._emulator.display if line.strip()]

    def write(self, text: str) -> None:
        with self.screen.away():
            os.write(self.fd, text.encode())

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.fd)


@pytest.fixture
def terminal() -> Iterator[Pty]:
    made = Pty()
    yield made
    made.close()


def shown(*lines: str) -> list[Text]:
    return [Text(line) for line in lines]


def test_what_is_written_goes_above(terminal: Pty) -> None:
    """With and without a newline at its end, and however the lines change."""
    terminal.screen.show(shown("one", "two"))
    terminal.write("first\n")
    terminal.screen.show(shown("one", "two", "three"))
    terminal.write("no newline")
    terminal.write("last\n")
    terminal.screen.show(shown("only"))

    assert ["first", "no newline", "last", "only"] == terminal.lines


def test_nothing_is_left_of_it(terminal: Pty) -> None:
    """And it does not come back."""
    terminal.screen.show(shown("one", "two"))
    terminal.write("first\n")
    terminal.screen.close()
    terminal.screen.show(shown("again"))
    terminal.write("last\n")

    assert ["first", "last"] == terminal.lines


def test_blocks_within_blocks_bring_it_back_once(terminal: Pty) -> None:
    """What is written between two inner ones stands above too."""
    terminal.screen.show(shown("one", "two"))
    terminal.screen.hold()
    terminal.write("a\n")
    with terminal.screen.away():
        os.write(terminal.fd, b"b\n")
        terminal.write("c\n")
        os.write(terminal.fd, b"d\n")
    terminal.screen.release()

    assert ["a", "b", "c", "d", "one", "two"] == terminal.lines


def test_the_last_word_of_a_process_that_leaves_at_once_is_a_new_line(terminal: Pty) -> None:
    """A shell's prompt must not stand behind the view."""
    terminal.screen.show(shown("one"))
    terminal.screen.leave()
    os.write(terminal.fd, b"$ ")

    assert ["one", "$"] == terminal.lines


def test_a_terminal_that_has_stalled_is_left_as_it_was(terminal: Pty) -> None:
    """It belongs to the shell too: nothing is waited for, and no mode is changed."""
    terminal.screen.show(shown("one"))
    os.set_blocking(terminal.fd, False)
    with suppress(BlockingIOError):
        while True:
            os.write(terminal.fd, b"x" * 4096)
    os.set_blocking(terminal.fd, True)
    terminal.screen.leave()

    assert os.get_blocking(terminal.fd)


@pytest.mark.parametrize(
    ("environ", "colors"),
    [
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm"}, "standard"),
        ({"TERM": "xterm", "NO_COLOR": ""}, "standard"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_colours_by_what_is_agreed_on(environ: dict[str, str], colors: str | None) -> None:
    """NO_COLOR counts where it is not empty."""
    assert colors == colors_of(environ)


def test_a_terminal_that_does_not_tell_its_size_has_the_usual_one() -> None:
    """80 x 24."""

    def unknown(_: int) -> os.terminal_size:
        raise OSError

    sizes: list[Callable[[int], os.terminal_size]] = [unknown, lambda _: os.terminal_size((0, 0))]
    assert {(80, 24)} == {tuple(Screen(1, colors=None, size=size).size()) for size in sizes}
