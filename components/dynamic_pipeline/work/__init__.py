"""What a worker does with a job: one file per kind of work."""
