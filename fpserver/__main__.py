"""`python -m fpserver`: the same as the `fpserver` command."""

import sys

from fpserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
