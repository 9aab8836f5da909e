"""The report of a run as one HTML page: rows of the journal, folded into what charts and tables show, and drawn."""
