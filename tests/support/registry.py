"""A registry of images on loopback, with or without a log-in: enough of the protocol to pull from."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Images by `repository:tag`. `asked` holds the paths of all requests."""

    def __init__(self, address, login=None):
        self.address = address
        self.login = login
        self.blobs = {}
        self.manifests = {}
        self.asked = []

    def add(self, name, layers=1, architecture="amd64", size=1000):
        """An image of some files, not of programs; its digest."""
        descriptors, diffs = [], []
        for number in range(layers):
            raw = _layer(number, size)
            packed = gzip.compress(raw, 1, mtime=0)
            descriptors.append(self._blob(packed, "application/vnd.docker.image.rootfs.diff.tar.gzip"))
            diffs.append(f"sha256:{hashlib.sha256(raw).hexdigest()}")
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/file-0"]},
            "rootfs": {"type": "layers", "diff_ids": diffs},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(
                json.dumps(config).encode(), "application/vnd.docker.container.image.v1+json"
            ),
            "layers": descriptors,
        }
        data = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        repository, _, tag = name.rpartition(":")
        self.manifests[repository, tag] = self.manifests[repository, digest] = data
        return digest

    def _blob(self, data, kind):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"mediaType": kind, "size": len(data), "digest": digest}


def _layer(number, size):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        about = tarfile.TarInfo(f"file-{number}")
        about.size = size
        tar.addfile(
            about, io.BytesIO(hashlib.sha256(bytes([number])).digest() * (size // 32) + bytes(size % 32))
        )
    return file.getvalue()


@contextmanager
def registry(login=None):
    """One that serves until the end. `login`: the name and password that it asks for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            one.asked.append(self.path)
            if one.login and self.headers.get("Authorization") != _basic(one.login):
                self._answer(
                    401,
                    b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                    {"WWW-Authenticate": 'Basic realm="test"'},
                )
                return
            parts = self.path.removeprefix("/v2/").split("/")
            if parts == [""]:
                self._answer(200, b"{}")
            elif parts[-2] == "manifests" and (found := one.manifests.get(("/".join(parts[:-2]), parts[-1]))):
                digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
                self._answer(200, found, {"Content-Type": _MANIFEST, "Docker-Content-Digest": digest})
            elif parts[-2] == "blobs" and parts[-1] in one.blobs:
                self._answer(200, one.blobs[parts[-1]])
            else:
                self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

        do_HEAD = do_GET  # noqa: N815 - http.server's

        def _answer(self, status, body, headers=None):
            self.send_response(status)
            for name, value in {
                "Content-Length": str(len(body)),
                "Docker-Distribution-API-Version": "registry/2.0",
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one = Registry(f"127.0.0.1:{server.server_address[1]}", login)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield one
        server.shutdown()
        thread.join()


def _basic(login):
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
