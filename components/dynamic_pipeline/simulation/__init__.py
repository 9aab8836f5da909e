"""Runs of the real orchestrator, supervisor and policy on a virtual clock, over a trace of jobs."""
