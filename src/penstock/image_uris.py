"""The image of a framework's version, as SageMaker's SDK names it."""

from __future__ import annotations

from typing import Any


def retrieve(
    framework: str,
    region: str | None = None,
    version: str | None = None,
    py_version: str | None = None,
    instance_type: str | None = None,
    accelerator_type: str | None = None,
    image_scope: str | None = None,
    container_version: str | None = None,
    distribution: Any = None,
    base_framework_version: str | None = None,
    **kwargs: Any,
) -> str:
    """The URI of a framework's image.

    Args:
        framework: `sklearn`, `xgboost`, `pytorch`, `tensorflow`, `huggingface`, `mxnet`, ...
        region: An AWS region, part of the URI; None: the local server's.
        version: As in the tag, e.g. `1.2-1`.
        py_version: As in the tag, e.g. `py38`.
        instance_type: Says whether the image is the one for GPUs.
        accelerator_type: For inference only: must be None.
        image_scope: `training`, `processing` or None; all mean the same image here.
        container_version: The end of the tag, where a version has several.
        distribution: For training only, and without effect here.
        base_framework_version: The framework below HuggingFace's, e.g. `pytorch1.13`.
        **kwargs: What else SageMaker's function takes; it concerns training and models.

    Raises:
        ValueError: There is no such image; the message lists what there is.
    """
    from penstock.images import uris  # noqa: PLC0415 - reads the catalogue of images

    if image_scope == "inference" or accelerator_type is not None:
        raise ValueError(
            "Penstock runs processing jobs, so it has no images for inference. Use image_scope='processing'."
        )
    del distribution, kwargs
    return uris.retrieve(
        framework,
        region,
        version,
        py_version,
        instance_type,
        base_framework_version=base_framework_version,
        container_version=container_version,
    )
