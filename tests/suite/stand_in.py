"""Puts our executor in the place of the stdlib's `ThreadPoolExecutor`, for CPython's own tests.

The `suite` session imports this from a `.pth` file of its environment, so that the interpreters that the
tests start (isolated, without environment variables) get it too.
"""

import concurrent.futures
import concurrent.futures.thread

from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor


class ThreadPoolExecutor(ResizableThreadPoolExecutor):
    """Ours under the stdlib's name: the tests print the name into the scripts they start."""


concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor  # type: ignore[assignment,misc]
concurrent.futures.ThreadPoolExecutor = ThreadPoolExecutor  # type: ignore[assignment,misc]
