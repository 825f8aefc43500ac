"""The errors that users see."""


class UserError(Exception):
    """Something the user can mend; its text is the one line that says what and how."""


class UnwritableError(UserError):
    """A file that cannot be written, which the text names."""
