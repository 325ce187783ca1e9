"""Settings of a Session that are about what it uploads."""

from __future__ import annotations


class SessionSettings:
    """Settings of a Session.

    Args:
        encrypt_repacked_artifacts: Ask S3 to encrypt the packed source with its own KMS key when no other
            key is given. The local store has no KMS, so there it changes nothing.
        local_download_dir: Where temporary files are made; the system's place when not given.
        include_jumpstart_tags: Kept for its name; models are not part of Processing.
    """

    def __init__(
        self,
        encrypt_repacked_artifacts: bool = True,
        local_download_dir: str | None = None,
        include_jumpstart_tags: bool = True,
    ) -> None:
        self.encrypt_repacked_artifacts = encrypt_repacked_artifacts
        self.local_download_dir = local_download_dir
        self.include_jumpstart_tags = include_jumpstart_tags
