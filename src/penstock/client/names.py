"""Names and paths as SageMaker's SDK makes them: of jobs, of S3 places, of local files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote, urlparse

#: The API's limit for a job's name.
MAX_JOB_NAME = 63


def job_name(base: str) -> str:
    """`base` with the time to the millisecond, as `<base>-YYYY-MM-DD-HH-MM-SS-mmm`, at most 63 characters.

    Characters that the API refuses in a job's name (the `_` of a script, the `@` of an image by digest)
    become `-`.
    """
    now = datetime.now(UTC)
    stamp = f"{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond // 1000:03}"
    base = re.sub(r"[^a-zA-Z0-9-]", "-", base)[: MAX_JOB_NAME - len(stamp) - 1]
    return f"{base}-{stamp}"


def image_base(image_uri: str) -> str:
    """The repository's last part, without registry, tag and digest: the base of a job's name."""
    return image_uri.split("@", maxsplit=1)[0].rsplit("/", 1)[-1].split(":", maxsplit=1)[0]


def run_group(experiment: str) -> str:
    """The trial in which the SDKs keep all runs of an experiment."""
    return f"Default-Run-Group-{experiment}"


def tag_list(
    tags: Mapping[str, object] | Sequence[Mapping[str, str]] | None,
) -> Sequence[Mapping[str, str]] | None:
    """Tags as the API wants them; a mapping becomes a list of Key and Value."""
    if isinstance(tags, Mapping):
        return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]
    return tags


def s3_path_join(*args: str | None, with_end_slash: bool = False) -> str:
    """Join parts of an S3 path by one `/` each.

    Empty parts are left out, `s3://` at the start is kept, other repeated slashes become one, and no slash
    is left at the start, nor at the end unless `with_end_slash` is set.
    """
    joined = "/".join(part for part in args if part)
    scheme, rest = ("s3://", joined[5:]) if joined.startswith("s3://") else ("", joined)
    path = scheme + re.sub(r"/{2,}", "/", rest).strip("/")
    return f"{path}/" if with_end_slash and path and not path.endswith("/") else path


def parse_s3_url(url: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of an `s3://` URL.

    Raises:
        ValueError: The URL has another scheme.
    """
    scheme = urlparse(url).scheme
    if scheme != "s3":
        raise ValueError(f"Expecting 's3' scheme, got: {scheme} in {url}.")
    # Keys may hold `?` and `#`, which URLs would give a meaning to.
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key.lstrip("/")


def is_s3(uri: str) -> bool:
    """Whether `uri` names something in S3."""
    return uri.lower().startswith("s3://")


def local_path(source: str) -> str | None:
    """The local path that `source` means: a plain path, or a `file://` URL; None for any other scheme."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    if scheme.lower() != "file":
        return None
    return unquote(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)
