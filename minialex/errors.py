"""The one exception that a person, not a program, is meant to read."""


class MinialexError(Exception):
    """Something outside the program is not as it must be: a file, a folder, a setting, a device.

    The message is one line that names the thing and the remedy. The command line prints it
    and exits with status 2.
    """
