"""What ends the search for a fix."""


class Refused(Exception):  # noqa: N818 - a fix that is refused is no error
    """There is no fix, and why; the reason is one clause without a full stop."""
