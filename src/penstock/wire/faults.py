"""Errors as clients of AWS know them: a code, a message, an HTTP status.

One event has different names in different services: a wrong signature is `InvalidSignatureException` with
status 400 in JSON services, and `SignatureDoesNotMatch` with 403 in query services and S3. Faults are
raised under the name that JSON services use, and `named_for` gives them the name of the service that
answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import PenstockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: code as raised -> (code, status) in services of the query protocol (IAM, STS).
_QUERY: Mapping[str, tuple[str, int]] = {
    "UnsupportedSignature": ("IncompleteSignature", 400),
    "IncompleteQuerySignature": ("IncompleteSignature", 400),
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "IncompleteSignatureException": ("IncompleteSignature", 400),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "InvalidToken": ("InvalidClientTokenId", 403),
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "RequestEntityTooLargeException": ("RequestEntityTooLarge", 413),
    "RequestTimeTooSkewed": ("SignatureDoesNotMatch", 403),
    "SerializationException": ("MalformedQueryString", 400),
    "UnknownOperationException": ("InvalidAction", 400),
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
    "ValidationException": ("ValidationError", 400),
}

#: The same for S3, whose clients retry with the right region or clock on some of these names.
_S3: Mapping[str, tuple[str, int]] = {
    "UnsupportedSignature": ("InvalidRequest", 400),
    "IncompleteQuerySignature": ("AuthorizationQueryParametersError", 400),
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 400),
    "IncompleteSignatureException": ("AuthorizationHeaderMalformed", 400),
    "InternalFailure": ("InternalError", 500),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "InvalidToken": ("InvalidToken", 400),
    "MissingAuthenticationTokenException": ("AccessDenied", 403),
    "RequestEntityTooLargeException": ("EntityTooLarge", 400),
    "UnknownOperationException": ("NotImplemented", 501),
    "UnrecognizedClientException": ("InvalidAccessKeyId", 403),
    "ValidationException": ("InvalidRequest", 400),
}

#: The same for CloudWatch Logs, which says InvalidParameterException where others say ValidationException.
_LOGS: Mapping[str, tuple[str, int]] = {
    "UnsupportedSignature": ("IncompleteSignatureException", 400),
    "IncompleteQuerySignature": ("IncompleteSignatureException", 400),
    "InvalidToken": ("UnrecognizedClientException", 400),
    "RequestTimeTooSkewed": ("InvalidSignatureException", 400),
    "ValidationException": ("InvalidParameterException", 400),
}

_SAGEMAKER: Mapping[str, tuple[str, int]] = {
    "UnsupportedSignature": ("IncompleteSignatureException", 400),
    "IncompleteQuerySignature": ("IncompleteSignatureException", 400),
    "InvalidToken": ("UnrecognizedClientException", 400),
    # JSON services tell a wrong clock by the message alone.
    "RequestTimeTooSkewed": ("InvalidSignatureException", 400),
}

_NAMES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "iam": _QUERY,
    "logs": _LOGS,
    "s3": _S3,
    "sagemaker": _SAGEMAKER,
    "sts": _QUERY,
}


_UNSIGNED = "Request is missing Authentication Token"
_NO_SUCH_CLIENT = "The security token included in the request is invalid."
_ADVICE = (
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
_MISMATCH = f"The request signature we calculated does not match the signature you provided. {_ADVICE}"

#: What S3 says in other words, by code; `{}` is what others say.
_S3_TEXTS: Mapping[str, str] = {
    "IncompleteQuerySignature": "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
    "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters. ({})",
    "IncompleteSignatureException": "The authorization header is malformed; {}",
    "InvalidToken": "The provided token is malformed or otherwise invalid.",
    "MissingAuthenticationTokenException": "Access Denied",
    "RequestTimeTooSkewed": "The difference between the request time and the current time is too large. ({})",
    "UnrecognizedClientException": "The AWS Access Key Id you provided does not exist in our records.",
}


class Fault(PenstockError):
    """What an API call is refused with. The text is for the caller and must hold no secret."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def named_for(fault: Fault, service: str) -> Fault:
    """`fault` under the name and status that it has in `service`."""
    names = _NAMES.get(service, _SAGEMAKER)
    code, status = names.get(fault.code, (fault.code, fault.status))
    message = fault.message
    if service == "s3" and fault.code in _S3_TEXTS:
        message = _S3_TEXTS[fault.code].replace("{}", message)
    elif service == "s3":
        message = message.replace(_ADVICE, "Check your key and signing method.")
    return Fault(code, message, status)


# -- What is wrong with the request --------------------------------------------------------------------------


def validation(message: str) -> Fault:
    """A member's value is refused. 400, as SageMaker answers; also for a job that does not exist."""
    return Fault("ValidationException", message)


def serialization(message: str) -> Fault:
    """The body isn't what the protocol demands (no JSON object, a number for a string). 400."""
    return Fault("SerializationException", message)


def unknown_operation(message: str, status: int = 400) -> Fault:
    """The operation isn't served. 400, as JSON services answer; 404 for what is no call of an operation at all."""
    return Fault("UnknownOperationException", message, status)


def unknown_service(service: str, known: Iterable[str]) -> Fault:
    """No operation of the service is served: `AWS_ENDPOINT_URL` leads clients of every service here. 400."""
    return unknown_operation(
        f"Penstock has no service {service[:64]!r}; it has {', '.join(sorted(known))} and S3. "
        f"Give a client of another service an endpoint_url of its own."
    )


def missing_action() -> Fault:
    """Query services: the request names no operation. 400."""
    return Fault("MissingAction", "The request is missing an action or a required parameter.")


def too_large(message: str) -> Fault:
    """The body is longer than the server takes. 413, the status that HTTP has for it."""
    return Fault("RequestEntityTooLargeException", message, 413)


# -- What is wrong with the thing it speaks of ---------------------------------------------------------------


def resource_in_use(message: str) -> Fault:
    """SageMaker: the name is taken, or the thing can't be changed now. 400."""
    return Fault("ResourceInUse", message)


def not_found(message: str) -> Fault:
    """SageMaker: what is named is not there, for operations whose model has this error. 400."""
    return Fault("ResourceNotFound", message)


def log_not_found(message: str) -> Fault:
    """CloudWatch Logs: no such group or stream. 400; SageMaker's SDK takes this code for "no log yet"."""
    return Fault("ResourceNotFoundException", message)


# -- What is wrong with the caller ---------------------------------------------------------------------------
# JSON services answer these with 400 (query services and S3 mostly with 403, see the tables above).


def missing_token() -> Fault:
    """The request isn't signed."""
    return Fault("MissingAuthenticationTokenException", _UNSIGNED)


def unrecognized_client() -> Fault:
    """Nobody has this access key."""
    return Fault("UnrecognizedClientException", _NO_SUCH_CLIENT)


def invalid_token() -> Fault:
    """The request has a session token that does not belong to its access key. S3 has a code for it."""
    return Fault("InvalidToken", _NO_SUCH_CLIENT)


def expired_token() -> Fault:
    """Temporary credentials whose time is over."""
    return Fault("ExpiredTokenException", "The security token included in the request is expired")


def invalid_signature(detail: str = "") -> Fault:
    """The signature is not what the caller's secret makes of the request."""
    return Fault("InvalidSignatureException", f"{_MISMATCH} {detail}".rstrip())


def wrong_scope(message: str) -> Fault:
    """What the signature is for (day, region, service) isn't this request or this server."""
    return Fault("InvalidSignatureException", message.rstrip())


def incomplete_signature(message: str) -> Fault:
    """The signature lacks a part, or a part can't be read."""
    return Fault("IncompleteSignatureException", message)


def incomplete_query(message: str) -> Fault:
    """The same of a presigned URL. S3 has a code for it."""
    return Fault("IncompleteQuerySignature", message)


def unsupported_signature() -> Fault:
    """The request is signed by version 2, which S3 no longer takes for new buckets and other services not at all."""
    return Fault(
        "UnsupportedSignature",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def clock_skew(message: str) -> Fault:
    """The request was signed too long ago, or in the future. S3 has a code for it, with 403."""
    return Fault("RequestTimeTooSkewed", message, 403)


def payload_mismatch() -> Fault:
    """S3: the body isn't the one whose hash was signed. 400."""
    return Fault(
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )


def access_denied(message: str) -> Fault:
    """The caller is known and may not do this."""
    return Fault("AccessDeniedException", message)


# -- What is wrong with the server ---------------------------------------------------------------------------


def internal_failure(told: str = "") -> Fault:
    """The server's own mistake; what it was goes to the server's log and not to the caller. 500.

    Args:
        told: Sentences about what whoever reads them may well be able to mend, such as a full disk.
    """
    return Fault(
        "InternalFailure", f"We encountered an internal error. Please try again. {told}".rstrip(), 500
    )


def unavailable(message: str) -> Fault:
    """It can't be answered now, and later it can. 503."""
    return Fault("ServiceUnavailable", message, 503)
