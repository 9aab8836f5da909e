"""Starting a program: `posix_spawn`, in a session of its own, its output into files that it makes itself."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these, and a program would inherit that
_MADE = os.O_RDWR | os.O_CREAT | os.O_EXCL
_MODE = 0o666  # that of any new file, since it may be kept: the folder it is made in must be private


def spawn(
    file: bytes,
    argv: Sequence[bytes],
    env: Sequence[bytes],
    stdout: bytes,
    stderr: bytes,
    cwd: bytes | None = None,
) -> int:
    """Start a program and return its process id, which is also the number of its session and group.

    Args:
        file: what is run; a name without a slash is looked for in PATH.
        argv, env: as the program sees them; an entry of *env* is ``NAME=value``.
        stdout, stderr: paths of files that must not exist. They are made on the other side: no descriptor of
            ours is used for them. The program reads from the null device.
        cwd: the folder in which it runs, in place of ours; it is entered last, and must be there.

    Raises:
        OSError: it cannot be started, or a file cannot be made. ValueError: an argument holds a NUL byte.
    """
    for word in argv:
        if b"\0" in word:
            raise ValueError("embedded null byte")
    if cwd is not None and (_libc is None or _libc.enter is None):  # a shell can do it everywhere
        file, argv = b"/bin/sh", [b"sh", b"-c", b'cd -- "$1" && shift && exec "$@"', b"sh", cwd, *argv]
        cwd = None
    if _libc is not None:
        return _libc.spawn(file, argv, env, stdout, stderr, cwd)
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, _MADE, _MODE),
        (os.POSIX_SPAWN_OPEN, 2, stderr, _MADE, _MODE),
    )
    environment = dict(entry.split(b"=", 1) for entry in env)
    return os.posix_spawnp(
        file, list(argv), environment, file_actions=actions, setsid=True, setsigdef=_RESTORED
    )


class _Libc:
    """The same call without the interpreter lock.

    `os.posix_spawnp` holds the lock until the new process has left our memory, which on a busy machine is until
    it was given a processor: all other workers stand still for that long. The C library's own call is made
    without the lock here; with 8 workers a command costs a quarter less (`tests/benchmarks/commands.py`).
    """

    _FLAGS = 0x04 | 0x80  # POSIX_SPAWN_SETSIGDEF and _SETSID, the same in glibc and musl
    _ATTRIBUTES, _ACTIONS, _SIGNALS = 1024, 512, 256  # bytes: more than either has in its structures

    def __init__(self) -> None:
        self._posix_spawnp = ctypes.CDLL(None).posix_spawnp
        held: Any = ctypes.PyDLL(None)  # with the lock: calls so short that giving it away costs more
        self._begin, self._end = held.posix_spawn_file_actions_init, held.posix_spawn_file_actions_destroy
        self._open = held.posix_spawn_file_actions_addopen
        # glibc from 2.29 on, musl from 1.1.24
        self.enter: Any = getattr(held, "posix_spawn_file_actions_addchdir_np", None)
        self._attributes = ctypes.create_string_buffer(self._ATTRIBUTES)
        signals = ctypes.create_string_buffer(self._SIGNALS)
        held.sigemptyset(signals)
        for number in _RESTORED:
            held.sigaddset(signals, int(number))
        held.posix_spawnattr_init(self._attributes)
        held.posix_spawnattr_setsigdefault(self._attributes, signals)
        held.posix_spawnattr_setflags(self._attributes, ctypes.c_short(self._FLAGS))

    def spawn(
        self,
        file: bytes,
        argv: Sequence[bytes],
        env: Sequence[bytes],
        stdout: bytes,
        stderr: bytes,
        cwd: bytes | None,
    ) -> int:
        pid = ctypes.c_int()
        actions = ctypes.create_string_buffer(self._ACTIONS)
        self._begin(actions)
        try:
            number = (
                self._open(actions, 0, os.devnull.encode(), os.O_RDONLY, 0)
                or self._open(actions, 1, stdout, _MADE, _MODE)
                or self._open(actions, 2, stderr, _MADE, _MODE)
                or (cwd is not None and self.enter(actions, cwd))
                or self._posix_spawnp(
                    ctypes.byref(pid),
                    file,
                    actions,
                    self._attributes,
                    (ctypes.c_char_p * (len(argv) + 1))(*argv),
                    (ctypes.c_char_p * (len(env) + 1))(*env),
                )
            )
        finally:
            self._end(actions)
        if number:
            raise OSError(number, os.strerror(number))
        return pid.value


_libc = _Libc() if sys.platform == "linux" else None
