"""The one error that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user gave can't be used.

    The message is one line: what was found, what was expected, and where. The command line
    prints it without a traceback and ends with exit code 2 (``common.cli``).
    """
