"""The error tree. Three kinds, told apart by who can do something about them."""


class Llm4RecError(Exception):
    """Base of every error this package raises on purpose."""


class UserError(Llm4RecError):
    """The person asked for something impossible. Shown as one clear line; the command exits with 2.

    The message names the file, line or value at fault and what would mend it.
    """


class MissingExtra(UserError):
    """An optional dependency is needed. Names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'llm4rec[{extra}]'")
        self.extra = extra


class ToolError(Llm4RecError):
    """A tool could not do what it was asked, and the planner can try something else.

    The message is written for the planner: short, and with what to change.
    """


class TurnError(Llm4RecError):
    """The turn cannot go on (model gone, deadline passed). The turn ends with what is known."""
