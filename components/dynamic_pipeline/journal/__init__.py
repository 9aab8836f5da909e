"""What a run must not forget: one SQLite file with every accepted job, start and finish. Imports nothing by itself."""
