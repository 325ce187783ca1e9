"""Framework: what a FrameworkProcessor needs to know of a framework.

Training is not part of Processing, so an estimator here names an image and a base for job names, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from penstock import image_uris
from penstock.client import absent

if TYPE_CHECKING:
    from penstock.session import Session


class Framework:
    """A machine learning framework at one version.

    Subclasses set `_framework_name`. All arguments become attributes.

    Args:
        entry_point: The script.
        framework_version: As in the image's tag, e.g. `1.2-1`.
        py_version: As in the image's tag, e.g. `py38`. `py3` means the one that the version comes with.
        source_dir: The folder of the script.
        hyperparameters: Kept for its name.
        image_uri: An image of one's own, which makes the versions meaningless.
        role: A role's name or ARN.
        instance_count: How many instances.
        instance_type: Their type; says whether the image is the one for GPUs.
        sagemaker_session: Names the region.
        base_job_name: The start of job names; the framework's name otherwise.
        dependencies: More files and folders.
        git_config: A repository to take the source from.
        code_location: Where the source is uploaded to.
        **kwargs: What else SageMaker's estimators take.
    """

    _framework_name: ClassVar[str] = ""

    def __init__(
        self,
        entry_point: str | None = None,
        framework_version: str | None = None,
        py_version: str | None = None,
        source_dir: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        image_uri: str | None = None,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        sagemaker_session: Session | None = None,
        base_job_name: str | None = None,
        dependencies: Sequence[str] | None = None,
        git_config: Mapping[str, Any] | None = None,
        code_location: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.entry_point = entry_point
        self.framework_version = framework_version
        self.py_version = py_version
        self.source_dir = source_dir
        self.hyperparameters = hyperparameters
        self.image_uri = image_uri
        self.role = role
        self.instance_count = instance_count
        self.instance_type = instance_type
        self.sagemaker_session = sagemaker_session
        self.base_job_name = base_job_name
        self.dependencies = list(dependencies or [])
        self.git_config = git_config
        self.code_location = code_location
        self.__dict__.update(kwargs)

    def training_image_uri(self, region: str | None = None) -> str:
        """The image's URI: the one given, or the framework's for its version, Python and instance type.

        Raises:
            ValueError: There is no image for these; the message lists what there is.
        """
        if self.image_uri is not None:
            return self.image_uri
        return image_uris.retrieve(
            self._framework_name,
            region or self._region(),
            version=self.framework_version,
            py_version=self.py_version,
            instance_type=self.instance_type,
            base_framework_version=self._base_framework_version(),
        )

    def _base_framework_version(self) -> str | None:
        """The framework below this one with its version, where there are two."""
        return None

    def _region(self) -> str:
        if self.sagemaker_session is not None:
            return self.sagemaker_session.boto_region_name
        from penstock.session import Session  # noqa: PLC0415 - the two modules need each other

        return Session().boto_region_name

    def fit(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not there: refused in words, where users' notebooks train before they process.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "Penstock is SageMaker Processing and has no training jobs. Run the training script as a processing job: "
            "FrameworkProcessor(...).run(code=..., source_dir=...), with the model's folder as a ProcessingOutput."
        )


absent.explain(__name__)
