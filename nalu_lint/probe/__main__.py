"""`python -m nalu_lint.probe` is `nalu-probe`: what torchrun needs."""

import sys

from nalu_lint.probe.cli import main

if __name__ == "__main__":
    sys.exit(main())
