"""A small S3 on loopback that counts what is asked of it: whether nothing is fetched, only the store can tell."""

import hashlib
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        key = f"{unquote(url.path)}/".split("/", 2)[2]
        if "list-type" in query:
            return self._answer(200, self._page(query.get("prefix", [""])[0]))
        data = self.server.objects.get(key.removesuffix("/"))
        if data is None:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
        self.server.gets.append(key.removesuffix("/"))
        headers = {"ETag": _etag(data), "Last-Modified": formatdate(usegmt=True)}
        if "Range" not in self.headers:
            return self._answer(200, data, headers)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(data) - 1)
        return self._answer(
            206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        )

    def do_PUT(self):
        key = unquote(urlsplit(self.path).path).split("/", 2)[2]
        self.server.objects[key] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"", {"ETag": _etag(self.server.objects[key])})

    def _page(self, prefix):
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(_etag(data))}</ETag></Contents>"
            for key, data in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def counting_store():
    """A server with `objects` (key -> bytes, whatever the bucket), `gets` (keys, as often as read) and `endpoint`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Requests) as server:
        server.objects, server.gets = {}, []
        server.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'
