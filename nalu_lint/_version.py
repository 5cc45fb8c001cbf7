"""The version, on its own so that the build and `--version` read it without loading more."""

__version__ = "0.2.0"
