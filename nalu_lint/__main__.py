"""`python -m nalu_lint`."""

import sys

from nalu_lint.cli import main

if __name__ == "__main__":
    sys.exit(main())
