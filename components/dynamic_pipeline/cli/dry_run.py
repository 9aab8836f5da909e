"""`--dry-run`: the commands instead of the run."""

from __future__ import annotations

import os
import signal

from dynamic_pipeline.cli.console import STDOUT, refuse, write_stderr
from dynamic_pipeline.cli.plan import make_template, open_source
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.errors import SourceError
from dynamic_pipeline.lifecycle import IO_FAULT, OK, READER_GONE, SOME_FAILED
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.templates import display
from dynamic_pipeline.views.escape import escape


def dry_run(request: Request, stop: Stop) -> int:
    """Print what would be run, one line a job, ready to be copied; start nothing and create nothing.

    Raises:
        UsageError: as `plan` does.
    """
    source = open_source(request, stop)
    template = make_template(request, source) if request.call is None else None
    code = OK
    try:
        for number, record in enumerate(source, 1):
            if record.problem:
                code = SOME_FAILED
                write_stderr(f"{record.source}:{record.line}: bad record: {record.problem}")
                continue
            argv = template.fill(record, number, 1) if template else []
            text = display(argv) if template else f"{request.call}({record.payload!r})"
            write_all(STDOUT, os.fsencode(text + "\n"))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return READER_GONE
    except (SourceError, OSError) as error:
        return refuse(f"pipeline: error: {escape(str(error))}", IO_FAULT)
    return code
