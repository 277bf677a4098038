"""The end of a run that can't go on, in a module that needs no torch."""


class RunStopped(Exception):
    """The run can't go on; the message says why and what to do.

    alone: only this rank knows, and has to tell.
    """

    def __init__(self, reason: str, alone: bool = False) -> None:
        super().__init__(reason)
        self.alone = alone
