"""Data and training that several experiments share."""
