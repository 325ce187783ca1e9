"""A package index on loopback, with a password if need be, and wheels made on the spot."""

import base64
import hashlib
import http.server
import threading
import zipfile


def wheel(folder, name, version, body="", requires=()):
    """A wheel of one module, with a console script that prints the module's `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    files = {
        f"{name}.py": f"x = {version!r}\n{body}\ndef main():\n    print(x)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file), text)  # of a fixed date: equal content, equal bytes
    return path


class Index:
    """Serves the wheels of a folder. With a password, it refuses whoever does not give it (basic, user `me`)."""

    def __init__(self, folder, password=None):
        self.folder = folder
        self.refused = self.served = 0
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()
        outer = self
        expected = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(whole=True)

            def do_HEAD(self):
                self.answer(whole=False)

            def answer(self, *, whole):
                outer.asked.set()
                assert outer.open.wait(120)
                if password is not None and self.headers.get("Authorization") != expected:
                    outer.refused += 1
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = outer.content(self.path)
                outer.served += body is not None
                self.send_response(200 if body is not None else 404)
                self.send_header(
                    "Content-Type", "text/html" if self.path.endswith("/") else "application/zip"
                )
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if whole and body:
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def url(self, user=""):
        return f"http://{user + '@' if user else ''}{self.host}/simple"

    def content(self, path):
        kind, _, name = path.strip("/").partition("/")
        if kind == "files":
            return (self.folder / name).read_bytes() if (self.folder / name).is_file() else None
        found = sorted(self.folder.glob(f"{name}-*.whl"))
        links = [
            f'<a href="/files/{one.name}#sha256={hashlib.sha256(one.read_bytes()).hexdigest()}">{one.name}</a>'
            for one in found
        ]
        return "\n".join(links).encode() if found else None

    def close(self):
        self.open.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
