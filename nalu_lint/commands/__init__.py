"""What the command can do, one module for each thing; imported when it is asked for."""

CLEAN, FINDINGS, CANNOT_RUN = 0, 1, 2
SUBCOMMANDS = frozenset({"check", "clean", "config", "rule", "server", "version"})
