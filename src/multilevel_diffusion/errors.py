"""The one error that users see."""


class UserError(Exception):
    """Something the user can mend; its text is the one line that says what and how."""
