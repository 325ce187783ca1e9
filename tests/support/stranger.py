"""Somebody who listens where a server of ours was, and answers in his own way."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def stranger(status, body, port=0, asked=None):
    """The address of one who gives this answer to whatever he is asked; the paths are added to `asked`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            if asked is not None:
                asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer()

        def do_POST(self):
            self.answer()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()
