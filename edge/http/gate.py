"""Who may ask: the token is checked before anything else looks at a request."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from edge.http.messages import Answer, Request
from edge.http.refusals import Refusals
from edge.http.tokenfile import TokenFile
from edge.http.tokens import Refused, refusal

WORDS: dict[Refused, str] = {
    "no_token": "send a token: `Authorization: Bearer TOKEN`; `edge keys token NAME` makes one",
    "wrong_token": "this token is not valid here; `edge keys token NAME` makes one that is",
    "expired_token": "this token has expired; `edge keys token NAME` makes a new one",
}


class Gate:
    """Without a file of tokens everybody may ask."""

    def __init__(self, tokens: Path | None, refusals: Refusals) -> None:
        self._tokens = None if tokens is None else TokenFile(tokens)
        self._refusals = refusals

    def refused(self, request: Request, peer: str) -> Answer | None:
        """What a request is answered that may not ask (RFC 6750, section 3); None for one that may."""
        if self._tokens is None:
            return None
        reason = refusal(self._tokens.current(), request.headers.get("authorization"), datetime.now(UTC))
        if reason is None:
            return None
        self._refusals.add(reason, peer, reason.replace("_", " "))
        described = f'Bearer error="invalid_token", error_description="{WORDS[reason].partition(";")[0]}"'
        challenge = "Bearer" if reason == "no_token" else described
        headers = (("WWW-Authenticate", challenge),)
        return Answer({"error": WORDS[reason]}, HTTPStatus.UNAUTHORIZED, headers=headers)
