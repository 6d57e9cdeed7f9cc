"""Bearer tokens: who may ask, and until when. Only their hashes are stored. Pure: the time is handed in."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeAlias

import msgspec

RANDOM_BYTES = 32
"""Of a new token: nobody guesses it, so one round of SHA-256 protects it as well as a slow hash."""

MAX_TOKENS = 1_000

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
Refused: TypeAlias = Literal["no_token", "wrong_token", "expired_token"]


class TokenError(ValueError):
    """Tokens cannot be read, made or revoked; the text says why and what to do."""


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token. `sha256` is of its characters, in hexadecimal."""

    name: Name
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    expires: Annotated[datetime, msgspec.Meta(tz=True)]


def new_token(name: str, now: datetime, lifetime: timedelta) -> tuple[str, Token]:
    """A fresh token, and what is kept of it. `now` has a time zone."""
    secret = secrets.token_urlsafe(RANDOM_BYTES)
    return secret, Token(name, _sha256(secret), now, now + lifetime)


def refusal(tokens: Sequence[Token], authorization: str | None, now: datetime) -> Refused | None:
    """Why the header `Authorization: Bearer TOKEN` (RFC 6750) does not let a request in; None where it does.

    Every token is compared, each in constant time, so that the time taken tells nothing.
    """
    if authorization is None:
        return "no_token"
    scheme, _, presented = authorization.partition(" ")
    digest = _sha256(presented.strip(" "))
    matching = [token for token in tokens if hmac.compare_digest(token.sha256, digest)]
    if scheme.lower() != "bearer" or not matching:
        return "wrong_token"
    return None if any(token.expires > now for token in matching) else "expired_token"


def added(tokens: Sequence[Token], token: Token) -> tuple[Token, ...]:
    """With one more token.

    Raises:
        TokenError: there is one of that name, or there are too many.
    """
    if any(each.name == token.name for each in tokens):
        raise TokenError(
            f"there is a token {token.name!r} already; choose another name, or --revoke {token.name} first"
        )
    if len(tokens) >= MAX_TOKENS:
        raise TokenError(f"there are {len(tokens)} tokens, and there may be {MAX_TOKENS}; revoke some")
    return (*tokens, token)


def revoked(tokens: Sequence[Token], name: str) -> tuple[Token, ...]:
    """Without the token of that name.

    Raises:
        TokenError: there is none.
    """
    if all(each.name != name for each in tokens):
        known = ", ".join(each.name for each in tokens) or "none at all"
        raise TokenError(f"there is no token {name!r}; there are: {known}")
    return tuple(each for each in tokens if each.name != name)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("latin-1", "replace")).hexdigest()
