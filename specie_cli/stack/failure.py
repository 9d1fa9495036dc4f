"""Why the local stack cannot start or go on, in words for the person at the terminal."""


class StackError(Exception):
    """The message is complete: what is wrong and what to do. No traceback is needed to understand it."""
