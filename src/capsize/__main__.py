"""`python -m capsize`."""

from capsize.cli import main

main()
