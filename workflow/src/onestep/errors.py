"""The one exception that a person sees: a mistake of theirs, told in one line."""


class Mistake(Exception):
    """What is wrong, where, and what to do about it, in one line; the command line exits with status 2."""
