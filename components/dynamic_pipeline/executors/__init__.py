"""Engines: the stdlib's `Executor` plus `resize`, one file per engine."""
