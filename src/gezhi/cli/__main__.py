"""`python -m gezhi.cli`."""

from gezhi.cli import main

main()
