"""The one exception that the command line shows without a traceback."""


class UserError(Exception):
    """A mistake of the user's: a missing file, an unusable option, a run folder that is taken.

    The message is one line that names what was given and says what to do. The command line prints
    it and exits with status 1; from Python it is an ordinary exception.
    """
