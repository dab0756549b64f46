"""The command line: commands that parse, call and print. No logic."""

from minialex.cli.main import main

__all__ = ["main"]
