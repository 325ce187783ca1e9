"""One transfer by one client, timed without its imports: `python movers.py CLIENT down|up BUCKET PREFIX FOLDER`.

Prints seconds, CPU seconds and peak memory in MiB. Endpoint and keys come from the usual AWS variables.
"""

import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from table import peak_memory

THREADS = 16


def penstock(way, bucket, prefix, folder):
    from penstock.data import inputs, outputs
    from penstock.data.cache import Cache
    from penstock.job.run import S3Access

    access = S3Access(
        os.environ["AWS_ENDPOINT_URL_S3"],
        os.environ["AWS_REGION"],
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        own=True,
    )
    uri, path = f"s3://{bucket}/{prefix}/", "/opt/ml/processing/data"
    source = {"InputName": "data", "S3Input": {"S3Uri": uri, "S3DataType": "S3Prefix", "LocalPath": path}}
    target = {"OutputName": "data", "S3Output": {"S3Uri": uri, "LocalPath": path}}

    def up():
        outputs.upload([target], kms_key=None, root=folder, access=access, progress=lambda _: None)

    def down():
        """As a job does it: into the node's cache, which is made durable while the program runs already."""
        cache = Cache(folder / "cache", 1 << 40)
        more = {"access": access, "progress": lambda _: None, "cache": cache}
        (fetched,) = inputs.fetch([source], index=0, count=1, root=folder, **more)
        assert fetched.mount

        def settle():
            with cache:
                cache.settle()

        return settle

    return up if way == "up" else down


def boto3(way, bucket, prefix, folder):
    import boto3.s3.transfer
    from botocore.config import Config

    root = folder / "processing" / "data"
    client = boto3.client("s3", config=Config(max_pool_connections=THREADS))
    client.list_buckets()
    configuration = boto3.s3.transfer.TransferConfig(preferred_transfer_client="classic")

    def down(key):
        target = root / key.removeprefix(f"{prefix}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, key, str(target), Config=configuration)

    def up(path):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(root)}", Config=configuration)

    def move():
        with ThreadPoolExecutor(THREADS) as pool:
            if way == "down":
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
                list(pool.map(down, (o["Key"] for page in pages for o in page["Contents"])))
            else:
                list(pool.map(up, (path for path in root.rglob("*") if path.is_file())))

    return move


def main():
    client, way, bucket, prefix, folder = sys.argv[1:]
    move = {"penstock": penstock, "boto3": boto3}[client](way, bucket, prefix, Path(folder))
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    settle = move()
    took = time.perf_counter() - began
    if settle:
        settle()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": took, "cpu": cpu, "memory": peak_memory()}))


if __name__ == "__main__":
    main()
