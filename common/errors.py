"""The base class of errors that a user can fix."""


class UserError(Exception):
    """A request cannot be carried out. The message is one line with the reason and the remedy.

    `common.commands.ProjectCommand` shows it and exits with `exit_code`.
    """

    exit_code = 1
