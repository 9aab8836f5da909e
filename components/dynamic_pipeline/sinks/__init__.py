"""Who hears of events: one file per destination."""
