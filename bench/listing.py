"""Listing and sharding of many keys: 10,000, 100,000 and a million; how it grows, and what memory it takes.

The store is a small server of this file, which makes each page of a listing as it is asked for: to fill a real one
with a million objects would take a quarter of an hour. The job is one instance of as many as there are keys, so
that it lists and lays out all, and downloads one.
"""

import http.server
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench.table import machine, peak_memory, show

COUNTS = (10_000, 100_000, 1_000_000)
PAGE = 1000
MEMBERS = "<Key>{}</Key><Size>4</Size><ETag>&quot;8d777f385d3dfec8815d20f7496026dc&quot;</ETag>"


def main():
    listening, told = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(told,), daemon=True)
    server.start()
    port = listening.recv()
    rows = []
    try:
        for count in COUNTS:
            command = [sys.executable, "-m", "bench.listing", str(port), str(count)]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows.append(
                (
                    f"{count:,}",
                    f"{figures['seconds']:.2f}",
                    f"{figures['seconds'] / count * 1e6:.1f}",
                    f"{figures['cpu']:.2f}",
                    f"{figures['memory']:.0f}",
                )
            )
    finally:
        server.terminate()
        server.join()
    columns = ("keys", "seconds", "µs a key", "CPU s", "memory MiB")
    show(f"Listing and sharding ({machine()})", columns, rows)


def one(port, count):
    """One instance's fetch, in this process."""
    from penstock.data.inputs import fetch
    from penstock.job.run import S3Access

    source = {"S3Uri": f"s3://{count}/many/", "LocalPath": "/opt/ml/processing/in"}
    source |= {"S3DataType": "S3Prefix", "S3DataDistributionType": "ShardedByS3Key"}
    access = S3Access(f"http://127.0.0.1:{port}", "us-east-1", "id", "secret")
    with tempfile.TemporaryDirectory() as root:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        (fetched,) = fetch(
            [{"InputName": "in", "S3Input": source}],
            index=count - 1,
            count=count,
            root=Path(root),
            access=access,
            progress=lambda _: None,
        )
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert (fetched.objects, fetched.bytes) == (1, 4)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": took, "cpu": cpu, "memory": peak_memory()}))


class Handler(http.server.BaseHTTPRequestHandler):
    """Bucket `N` has N objects of four bytes, in folders of a hundred."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        parts = urlsplit(self.path)
        if "list-type" not in parse_qs(parts.query):
            self.answer(b"data")
            return
        count = int(parts.path.strip("/"))
        start = int(parse_qs(parts.query).get("continuation-token", ["0"])[0])
        end = min(start + PAGE, count)
        items = "".join(
            f"<Contents>{MEMBERS.format(f'many/{n // 100:05}/part-{n % 100:05}.csv')}</Contents>"
            for n in range(start, end)
        )
        more = end < count
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        self.answer(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>".encode()
        )

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"8d777f385d3dfec8815d20f7496026dc"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(told):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    one(int(sys.argv[1]), int(sys.argv[2]))
