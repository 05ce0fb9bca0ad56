"""The exceptions that end in one line, not in a traceback."""


class UserError(Exception):
    """Something the user can mend: one line that names the thing, the reason and the remedy."""

    heading, exit_code = "error", 2


class Difference(UserError):
    """A result that did not come out again: nothing failed, but the answer is no."""

    heading, exit_code = "differs", 1
