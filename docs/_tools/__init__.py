"""What `make pages` writes and checks: generated parts, claims on pages, records that follow the experiments, history."""
