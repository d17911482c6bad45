"""The one exception that a user is meant to read."""


class DistraceError(Exception):
    """Something in the input, the config or the machine that the user can put right; the message says how."""
