"""Files and folders to S3 and back, through a boto3 client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from penstock.client.names import s3_path_join

#: Enough to hide the store's answer time; more only crowds a small machine.
_UPLOADS_AT_ONCE = 8


def upload(
    client: Any,
    path: str,
    bucket: str,
    prefix: str,
    extra: Mapping[str, str] | None = None,
    callback: Callable[[int], None] | None = None,
) -> str:
    """Upload the file `path` to `<prefix>/<its name>`, or everything below the folder `path` to `prefix`.

    Links to files are uploaded as the files they mean; links to folders inside a folder are not entered.

    Returns:
        The file's URI, or `s3://<bucket>/<prefix>` for a folder.

    Raises:
        FileNotFoundError: Nothing is at `path`.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"{path} can't be uploaded to s3://{bucket}/{prefix}: it does not exist.")
    if source.is_file():
        key = s3_path_join(prefix, source.name)
        client.upload_file(str(source), bucket, key, ExtraArgs=extra, Callback=callback)
        return f"s3://{bucket}/{key}"
    files = [Path(folder, name) for folder, _, names in os.walk(source) for name in names]
    if files:
        _upload_all(client, source, files, bucket, prefix, extra, callback)
    return s3_path_join("s3://", bucket, prefix)


def _upload_all(
    client: Any,
    source: Path,
    files: list[Path],
    bucket: str,
    prefix: str,
    extra: Mapping[str, str] | None,
    callback: Callable[[int], None] | None,
) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - keeps the import light

    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - loads boto3

    single = TransferConfig(use_threads=False)  # the pool below is the only one

    def one(file: Path) -> None:
        key = s3_path_join(prefix, file.relative_to(source).as_posix())
        client.upload_file(str(file), bucket, key, ExtraArgs=extra, Callback=callback, Config=single)

    with ThreadPoolExecutor(min(_UPLOADS_AT_ONCE, len(files))) as pool:
        # The first failure is raised here; what has not begun is dropped.
        uploads = [pool.submit(one, file) for file in sorted(files)]
        try:
            for running in uploads:
                running.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def download(
    client: Any,
    path: str,
    bucket: str,
    prefix: str,
    listing: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
) -> list[str]:
    """Download the object `prefix`, or all objects below it, into the folder `path`.

    Args:
        client: An S3 client.
        path: The folder; made when missing.
        bucket: The bucket.
        prefix: An object's key, or a folder's name with or without the `/` at its end.
        listing: More arguments for the listing.
        extra: ExtraArgs for each download.

    Returns:
        The files written; none when nothing has that prefix.

    Raises:
        ValueError: A key would be written outside of `path`.
    """
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    wanted = []
    for key, size in objects(client, bucket, prefix, listing):
        if key == prefix:
            name = Path(key).name
        elif key.startswith(folder):
            name = key.removeprefix(folder)
        else:  # a neighbour: `train-old/x` for the prefix `train`
            continue
        if key.endswith("/") and size == 0:  # a folder, as consoles make them
            _target(path, name, bucket, key).mkdir(parents=True, exist_ok=True)
            continue
        wanted.append((key, name))
    return download_these(client, path, bucket, wanted, extra)


def download_these(
    client: Any,
    path: str,
    bucket: str,
    wanted: Iterable[tuple[str, str]],
    extra: Mapping[str, str] | None = None,
) -> list[str]:
    """Download objects, each a key and the name that it gets below the folder `path`; the files written.

    Raises:
        ValueError: A key would be written outside of `path`.
    """
    written = []
    for key, name in wanted:
        target = _target(path, name, bucket, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(Bucket=bucket, Key=key, Filename=str(target), ExtraArgs=extra)
        written.append(str(target))
    return written


def _target(path: str, name: str, bucket: str, key: str) -> Path:
    target = Path(path, name)
    if not target.resolve().is_relative_to(Path(path).resolve()):
        raise ValueError(f"s3://{bucket}/{key} would be written to {target}, which is outside of {path}.")
    return target


def objects(client: Any, bucket: str, prefix: str, listing: Mapping[str, str]) -> list[tuple[str, int]]:
    """Key and size of all objects whose key starts with `prefix`, sorted by key."""
    found: list[tuple[str, int]] = []
    request = {"Bucket": bucket, "Prefix": prefix, **listing}
    while True:
        page = client.list_objects_v2(**request)
        found += [(item["Key"], int(item["Size"])) for item in page.get("Contents", ())]
        if not page.get("NextContinuationToken"):
            return found
        request["ContinuationToken"] = page["NextContinuationToken"]
