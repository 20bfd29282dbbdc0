"""`python -m trueup.cli`: the command, without its script."""

from trueup.cli import main

main.main()
