"""`--dry-run`: the commands instead of the run."""

from __future__ import annotations

import os
import signal

from dynamic_pipeline.cli.console import STDOUT, refuse, write_stderr
from dynamic_pipeline.cli.inputs import open_source
from dynamic_pipeline.cli.plan import make_template
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.errors import SourceError
from dynamic_pipeline.lifecycle import IO_FAULT, OK, READER_GONE, SOME_FAILED
from dynamic_pipeline.records import Record
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.templates import BadRecord, Template
from dynamic_pipeline.views.escape import escape


def dry_run(request: Request, stop: Stop) -> int:
    """Print what would be run, one line a job, ready to be copied; start nothing and create nothing.

    Raises:
        UsageError: as `plan` does.
    """
    source = open_source(request, stop)
    template = make_template(request, source) if request.call is None else None
    if template is not None and template.risk:
        write_stderr(f"warning: {template.risk}")
    code = OK
    try:
        for number, record in enumerate(source, 1):
            try:
                text = _call(request, record) if template is None else _command(template, record, number)
            except BadRecord as error:
                code = SOME_FAILED
                write_stderr(escape(f"{record.source}:{record.line}: {error}"))
                continue
            write_all(STDOUT, os.fsencode(text + "\n"))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return READER_GONE
    except (SourceError, OSError) as error:
        return refuse(f"pipeline: error: {escape(str(error))}", IO_FAULT)
    return code


def _command(template: Template, record: Record, number: int) -> str:
    _check(record)
    return template.display(record, number, 1)


def _call(request: Request, record: Record) -> str:
    _check(record)
    return f"{request.call}({record.payload!r})"


def _check(record: Record) -> None:
    if record.problem:
        raise BadRecord(f"bad record: {record.problem}")
