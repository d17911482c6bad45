"""The exceptions that a user is meant to read."""


class DistraceError(Exception):
    """A fault in the input, the config or the machine that the user can correct; the message says how."""


class BadRow(DistraceError):
    """A row of data that cannot be used; nodes reject it, with this message as the reason."""
