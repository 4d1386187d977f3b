"""Flow on graphs and the communities it shows."""
