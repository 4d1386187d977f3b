"""What `make pages` writes and checks: generated parts, pages, records that follow the experiments, history."""
