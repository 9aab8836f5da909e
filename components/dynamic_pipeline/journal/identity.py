"""Who is who between runs: the fingerprint of a task, and the key of a job. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

KEY_BYTES = 16
_TASK, _JOB = b"pipeline task 1", b"pipeline job 1"  # at most 16 bytes


def task_parts(
    kind: str,
    text: str,
    *,
    cwd: str = "",
    record_format: str = "lines",
    version: str = "",
    env: tuple[str, ...] = (),
    others: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What changes the *meaning* of a task, by names that people can read. Empty parts are left out.

    *kind* is command, shell, lines, call or simulated, *text* its template or callable; *env* the names of the
    variables handed on; *version* what the user declares. Workers, retries, time limits and logs do not belong here: they may differ
    between a run and its resumption.
    """
    parts = {
        "kind": kind,
        "text": text,
        "folder": cwd,
        "format": record_format,
        "version": version,
        "environment": " ".join(sorted(env)),
        **(others or {}),
    }
    return {name: value for name, value in parts.items() if value}


def task_fingerprint(parts: Mapping[str, str]) -> bytes:
    """16 bytes that differ whenever a part does; the order of the parts does not matter."""
    fields = [text for item in sorted(parts.items()) for text in item]
    return _digest(_TASK, *(text.encode("utf-8", "surrogatepass") for text in fields))


def job_key(task: bytes, identity: bytes) -> bytes:
    """16 bytes for a record of a task; *identity* is its raw bytes, or the field that stands for it.

    Never a re-written form of the record: two spellings of one JSON object are two records.
    """
    return _digest(_JOB, task, identity)


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The parts that differ, one line each, for the refusal to resume something else."""
    return [
        f"{name}: was {then.get(name, '')!r}, is {now.get(name, '')!r}"
        for name in dict.fromkeys([*then, *now])
        if then.get(name, "") != now.get(name, "")
    ]


def _digest(person: bytes, *fields: bytes) -> bytes:
    # Each field is preceded by its length: moving a byte from one to the next gives another digest.
    content = b"".join(len(field).to_bytes(8, "little") + field for field in fields)
    return blake2b(content, digest_size=KEY_BYTES, person=person).digest()
