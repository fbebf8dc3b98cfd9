"""The access tokens of the stand-ins' users: minted, and verified against a set of keys.

1. HS256 with a `kid`, under the secret that lite shares: lite, the functions and the relay then accept the same token.
2. A token is judged by the key its `kid` names; without one, by every key of its algorithm.
3. What is refused raises Refused with the words that the platform answers.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

Claims = dict[str, Any]


class Refused(Exception):
    """A token that is not accepted; `code` is the platform's name for the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class SigningKey:
    """A shared secret (at least 32 characters), the name by which verifiers know it, and who signs with it."""

    secret: str = field(repr=False)
    kid: str = "tests"
    issuer: str = ""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with exactly these claims."""
        return jwt.encode(dict(claims), self.secret, algorithm="HS256", headers={"kid": self.kid})

    def user_token(self, user_id: str, email: str = "", seconds: float = 3600) -> str:
        """The access token of a signed-in user, good for `seconds` from now; a negative one has expired."""
        now = time.time()
        return self.sign(
            {
                "iss": self.issuer,
                "sub": user_id,
                "email": email,
                "role": "authenticated",
                "aud": "authenticated",
                "aal": "aal1",
                "session_id": str(uuid.uuid4()),
                "is_anonymous": False,
                "app_metadata": {},
                "user_metadata": {},
                "iat": int(now),
                "exp": int(now + seconds),
            }
        )

    def again(self, token: str) -> str:
        """Another's token under this secret, with the names that Auth puts into its own: the key's and the issuer's."""
        claims = jwt.decode(
            token, self.secret, algorithms=["HS256"], options={"verify_aud": False, "verify_exp": False}
        )
        return self.sign({**claims, "iss": self.issuer})

    def anonymous_token(self) -> str:
        """What the gateway puts in the place of a publishable key."""
        return self.sign({"role": "anon", "iat": int(time.time()), "exp": int(time.time()) + 10 * 365 * 86400})

    def jwk(self) -> dict[str, Any]:
        """The key as a member of a JWKS."""
        k = base64.urlsafe_b64encode(self.secret.encode()).rstrip(b"=").decode()
        return {"kty": "oct", "alg": "HS256", "kid": self.kid, "k": k}


def verified(token: str, jwks: Iterable[Mapping[str, Any]]) -> Claims:
    """The claims of a token that one of the keys signed and that has not expired; `role` and `exp` are there."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise Refused("MalformedJWT", "The token provided is not a valid JWT") from None
    kid, algorithm = header.get("kid"), header.get("alg")
    keys = [key for key in jwks if key.get("alg") == algorithm and kid in (None, key.get("kid"))]
    for key in keys:
        try:
            claims: Claims = jwt.decode(
                token,
                jwt.PyJWK(dict(key)),
                algorithms=[str(algorithm)],
                options={"verify_aud": False, "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            continue
        if not isinstance(claims.get("exp"), int | float) or not claims.get("role"):
            raise Refused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
        late = time.time() - claims["exp"]
        if late >= 0:
            raise Refused("InvalidJWTToken", f"Token has expired {int(late)} seconds ago")
        return claims
    raise Refused("JwtSignatureError", "Failed to validate JWT signature")
