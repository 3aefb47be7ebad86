"""`capsize serve`: the store as pages on loopback, read-only: every run and campaign, compared, followed, opened."""
