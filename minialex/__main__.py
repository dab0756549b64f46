"""Run the command line as ``python -m minialex``."""

from minialex.cli import main

main()
