"""Exceptions that end in one line, not in a traceback."""


class UserError(Exception):
    """A user-fixable error: one line that names the thing, the reason and the remedy."""

    heading, exit_code = "error", 2


class Difference(UserError):
    """Results that differ from the recorded ones: nothing failed."""

    heading, exit_code = "differs", 1


class NotProven(UserError):
    """A result that too few of the trusted have signed, or that was edited: nothing failed."""

    heading, exit_code = "not proven", 1


class NotPromoted(UserError):
    """A model that was fitted because the data has drifted, and that does not pass: nothing failed."""

    heading, exit_code = "not promoted", 3
