"""The error that a user can mend."""


class UserError(Exception):
    """What was asked cannot be done. The message is one line that says why, and what helps.

    `common.commands.ProjectCommand` shows it and exits with `exit_code`.
    """

    exit_code = 1
