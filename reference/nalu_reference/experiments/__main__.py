"""Run the command, or say in one line what it needs."""

import sys

try:
    from nalu_reference.experiments.command import main
except ModuleNotFoundError as error:
    name = (error.name or str(error)).partition(".")[0]
    print(f"error: {name} is missing: pip install 'nalu-reference[experiments]'", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
