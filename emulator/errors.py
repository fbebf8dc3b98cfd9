"""Every refusal has the status and the body that Google sends.

Facts (reference: sheets, 1.2): the v2 envelope carries `status` and `details`, the v1 envelope carries `errors[]`;
a caller chooses with `$.xgafv=1|2`. A real 429 has an ErrorInfo that names the quota, and no Retry-After.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    414: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
V1_REASONS = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    429: "rateLimitExceeded",
    503: "backendError",
}


class ApiError(Exception):
    """A call that the API refuses."""

    def __init__(self, code: int, message: str, details: list[Json] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def body(self, v1: bool = False) -> Json:
        if v1:
            reason = V1_REASONS.get(self.code, "backendError")
            entry = {"message": self.message, "domain": "global", "reason": reason}
            return {"error": {"code": self.code, "message": self.message, "errors": [entry]}}
        error: Json = {
            "code": self.code,
            "message": self.message,
            "status": STATUS_NAMES.get(self.code, "UNKNOWN"),
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(message: str) -> ApiError:
    return ApiError(400, message)


def not_found() -> ApiError:
    return ApiError(404, "Requested entity was not found.")


def forbidden() -> ApiError:
    return ApiError(403, "The caller does not have permission")


def unauthenticated() -> ApiError:
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    return ApiError(401, message)


def not_emulated(what: str) -> ApiError:
    """What this emulator does not know it refuses, so that no test passes by accident."""
    return ApiError(501, f"Not emulated: {what}")


def bad_field(field: str, description: str, message: str | None = None) -> ApiError:
    """A value of the wrong type, in the shape that the JSON transcoder gives it (reference: sheets, 1.2)."""
    violation = {"field": field, "description": description}
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
    return ApiError(400, message or description, [detail])


def unknown_name(name: str, parent: str) -> ApiError:
    where = f" at '{parent}'" if parent else ""
    text = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
    return bad_field(parent, text)


def quota_exceeded(kind: str, level: str, limit: int, project: str) -> ApiError:
    """The body of a real 429 of 2025, with the project's number replaced (reference: sheets, 1.2)."""
    word = kind.capitalize()
    per_user = level == "user"
    name = f"{word} requests per minute" + (" per user" if per_user else "")
    message = (
        f"Quota exceeded for quota metric '{word} requests' and limit '{name}' of service "
        f"'sheets.googleapis.com' for consumer 'project_number:{project}'."
    )
    metadata = {
        "quota_limit": f"{word}RequestsPerMinutePer{'User' if per_user else 'Project'}",
        "quota_limit_value": str(limit),
        "quota_unit": "1/min/{project}/{user}" if per_user else "1/min/{project}",
        "quota_metric": f"sheets.googleapis.com/{kind}_requests",
        "quota_location": "global",
        "service": "sheets.googleapis.com",
        "consumer": f"projects/{project}",
    }
    more = "https://cloud.google.com/docs/quotas/help/request_increase"
    details: list[Json] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "RATE_LIMIT_EXCEEDED",
            "domain": "googleapis.com",
            "metadata": metadata,
        },
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{"description": "Request a higher quota limit.", "url": more}],
        },
    ]
    return ApiError(429, message, details)
