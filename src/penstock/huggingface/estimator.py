"""Hugging Face, as an estimator class for FrameworkProcessor."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.estimator import Framework


class HuggingFace(Framework):
    """Hugging Face's transformers at one version, on PyTorch or on TensorFlow.

    Args:
        py_version: As in the image's tag, e.g. `py39`.
        entry_point: The script.
        transformers_version: The version of transformers.
        tensorflow_version: The version of TensorFlow below; this or `pytorch_version`.
        pytorch_version: The version of PyTorch below.
        **kwargs: As of `Framework`.

    Raises:
        ValueError: Not exactly one of `tensorflow_version` and `pytorch_version` is given, or no version of
            transformers (unless there is an `image_uri`).
    """

    _framework_name: ClassVar[str] = "huggingface"

    def __init__(
        self,
        py_version: str | None = None,
        entry_point: str | None = None,
        transformers_version: str | None = None,
        tensorflow_version: str | None = None,
        pytorch_version: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("framework_version", transformers_version)
        super().__init__(entry_point=entry_point, py_version=py_version, **kwargs)
        self.tensorflow_version = tensorflow_version
        self.pytorch_version = pytorch_version
        if self.image_uri is not None:
            return
        if not self.framework_version:
            raise ValueError("transformers_version, and image_uri are both None. Specify one of them.")
        if tensorflow_version is not None and pytorch_version is not None:
            raise ValueError(
                "tensorflow_version and pytorch_version are both not None. "
                "Specify only tensorflow_version or pytorch_version."
            )
        if tensorflow_version is None and pytorch_version is None:
            raise ValueError(
                "tensorflow_version and pytorch_version are both None. "
                "Specify either tensorflow_version or pytorch_version."
            )

    def _base_framework_version(self) -> str | None:
        if self.pytorch_version is not None:
            return f"pytorch{self.pytorch_version}"
        return f"tensorflow{self.tensorflow_version}"
