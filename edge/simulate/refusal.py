"""How the simulator says no."""

from http import HTTPStatus


class Refused(ValueError):
    """A request that is not obeyed and changes nothing; the text says what was wrong and what to do."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
