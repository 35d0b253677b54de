"""`python -m tinyloss`: the command line."""

import sys

from tinyloss.cli import main

if __name__ == "__main__":
    sys.exit(main())
