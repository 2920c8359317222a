"""A key as it is shown: made, read, and the digest that is kept of it.

    fps_k7q2m5x3adfw_Zk3…   a mark that secret scanners can look for, the key's id, the secret

The id is no secret: it stands in lists and logs. The secret has 256 random bits, so one pass of SHA-256 is all the
digest needs: slow hashes are for secrets that can be guessed.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field

MARK = "fps"
ID_BYTES, ID_CHARS = 8, 13
SECRET_BYTES = 32
_TOKEN = re.compile(rf"{MARK}_([a-z2-7]{{{ID_CHARS}}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A key's id and its secret."""

    key_id: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        """All of it, for the one who is to have it."""
        return f"{MARK}_{self.key_id}_{self.secret}"

    @property
    def digest(self) -> bytes:
        """What is kept of the secret, 32 bytes."""
        return hashlib.sha256(self.secret.encode()).digest()


def new_id() -> str:
    """An id that no key has."""
    return base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().rstrip("=").lower()


def new_token(key_id: str) -> Token:
    """A new secret for a key."""
    return Token(key_id=key_id, secret=secrets.token_urlsafe(SECRET_BYTES))


def read(text: str) -> Token | None:
    """A key as it was shown; None: no key looks like that."""
    found = _TOKEN.fullmatch(text)
    return Token(key_id=found[1], secret=found[2]) if found else None
