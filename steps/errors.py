"""The one exception that both wings raise for a mistake of the user's."""


class UserError(Exception):
    """Something the user can mend: one line that names the thing, the reason and the remedy."""
