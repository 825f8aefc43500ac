"""The errors that users see."""


class UserError(Exception):
    """Something the user can mend; its text is the one line that says what and how."""


class ObservationsError(UserError):
    """What was seen of a field, or how, will not do."""


class UnwritableError(UserError):
    """A file that cannot be written, which the text names."""
