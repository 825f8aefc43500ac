"""The one error that users see."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; its text is the one line that says what and how."""
