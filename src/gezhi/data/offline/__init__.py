"""Real data that installed or pinned packages carry: one table, one way to fetch, one reader a source."""
