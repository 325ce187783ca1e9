"""Answers as a server gives them that has a run on record."""

from penstock.job.seal import NONCE, SEAL, digest_of, seal


def answer(handler, status, body, token, **headers):
    """Answer a runner's request, in a handler of `http.server`."""
    handler.send_response(status)
    handler.send_header(SEAL, seal(digest_of(token), handler.headers[NONCE], status, body))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
