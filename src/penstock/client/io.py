"""What goes into a job and what comes out of it: the objects that users write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.client.names import is_s3, local_path
from penstock.client.shapes import ApiObject
from penstock.dataset_definition.inputs import DatasetDefinition, S3Input


class ProcessingInput:
    """An input of a job.

    Args:
        source: An S3 URI; or a local file or folder (a path or a `file://` URL), which is uploaded when the
            job is started. From a `file://` URL below the server's PENSTOCK_LOCAL_INPUTS nothing is uploaded: the job
            sees it where it lies.
        destination: The absolute path in the job, under `/opt/ml/processing/`.
        input_name: Its name; `input-<n>` when not given, n being its place in the list from 1.
        s3_data_type: `S3Prefix` or `ManifestFile`.
        s3_input_mode: `File` or `Pipe`.
        s3_data_distribution_type: `FullyReplicated` or `ShardedByS3Key`.
        s3_compression_type: `None` or `Gzip` (with `Pipe` only).
        s3_input: All of the above as one object, which then wins.
        dataset_definition: The result of a query instead of S3 objects.
        app_managed: The program itself fetches the data.
    """

    def __init__(
        self,
        source: str | None = None,
        destination: str | None = None,
        input_name: str | None = None,
        s3_data_type: str = "S3Prefix",
        s3_input_mode: str = "File",
        s3_data_distribution_type: str = "FullyReplicated",
        s3_compression_type: str = "None",
        s3_input: S3Input | None = None,
        dataset_definition: DatasetDefinition | None = None,
        app_managed: bool = False,
    ) -> None:
        self.source = source
        self.destination = destination
        self.input_name = input_name
        self.s3_data_type = s3_data_type
        self.s3_input_mode = s3_input_mode
        self.s3_data_distribution_type = s3_data_distribution_type
        self.s3_compression_type = s3_compression_type
        self.s3_input = s3_input
        self.dataset_definition = dataset_definition
        self.app_managed = app_managed
        if s3_input is not None:
            self.source = s3_input.s3_uri
            self.destination = s3_input.local_path
            self.s3_data_type = s3_input.s3_data_type
            self.s3_input_mode = s3_input.s3_input_mode
            self.s3_data_distribution_type = s3_input.s3_data_distribution_type
        elif source is not None and destination is not None:
            self.s3_input = S3Input(
                s3_uri=source,
                local_path=destination,
                s3_data_type=s3_data_type,
                s3_input_mode=s3_input_mode,
                s3_data_distribution_type=s3_data_distribution_type,
                s3_compression_type=s3_compression_type,
            )

    def _to_request_dict(self) -> dict[str, Any]:
        request: dict[str, Any] = {"InputName": self.input_name, "AppManaged": self.app_managed}
        if self.s3_input:
            if self.s3_input.s3_compression_type == "Gzip" and self.s3_input.s3_input_mode != "Pipe":
                raise ValueError("Data can only be gzipped when the input mode is Pipe.")
            request["S3Input"] = S3Input.to_boto(self.s3_input)
        if self.dataset_definition is not None:
            request["DatasetDefinition"] = DatasetDefinition.to_boto(self.dataset_definition)
        return request


class FeatureStoreOutput(ApiObject):
    """The feature group that a job's program writes to by itself.

    Attributes:
        feature_group_name: The group's name.
    """

    feature_group_name: str | None = None


class ProcessingOutput:
    """An output of a job.

    Args:
        source: The absolute path in the job, under `/opt/ml/processing/`.
        destination: An S3 prefix. When it is anything else, the output goes to
            `s3://<default bucket>/<job>/output/<output name>`; from there, a `file://` folder is filled once the
            job has been waited for, however it ended.
        output_name: Its name; `output-<n>` when not given, n being its place in the list from 1.
        s3_upload_mode: `EndOfJob` or `Continuous`.
        app_managed: The program itself stores the data.
        feature_store_output: A feature group instead of S3.
    """

    def __init__(
        self,
        source: str | None = None,
        destination: str | None = None,
        output_name: str | None = None,
        s3_upload_mode: str = "EndOfJob",
        app_managed: bool = False,
        feature_store_output: FeatureStoreOutput | None = None,
    ) -> None:
        self.source = source
        self.destination = destination
        self.output_name = output_name
        self.s3_upload_mode = s3_upload_mode
        self.app_managed = app_managed
        self.feature_store_output = feature_store_output

    def _to_request_dict(self) -> dict[str, Any]:
        request: dict[str, Any] = {"OutputName": self.output_name, "AppManaged": self.app_managed}
        if self.source is not None:
            request["S3Output"] = {
                "S3Uri": self.destination,
                "LocalPath": self.source,
                "S3UploadMode": self.s3_upload_mode,
            }
        if self.feature_store_output is not None:
            request["FeatureStoreOutput"] = FeatureStoreOutput.to_boto(self.feature_store_output)
        return request


@dataclass
class RunArgs:
    """The arguments of a run, normalised.

    Attributes:
        code: An S3 URI or a local path.
        inputs: The inputs.
        outputs: The outputs.
        arguments: The program's arguments.
    """

    code: Any
    inputs: list[ProcessingInput] | None = None
    outputs: list[ProcessingOutput] | None = None
    arguments: list[str] | None = None


def name_inputs(inputs: list[ProcessingInput]) -> None:
    """Give the inputs without a name theirs, and see that each can be had.

    Raises:
        TypeError: One is not a ProcessingInput.
        ValueError: One has no source, no destination, or a source that is neither S3 nor a local path.
        FileNotFoundError: A local source does not exist.
    """
    for place, item in enumerate(inputs, 1):
        if not isinstance(item, ProcessingInput):
            raise TypeError("Your inputs must be provided as ProcessingInput objects.")
        if item.input_name is None:
            item.input_name = f"input-{place}"
        if item.dataset_definition is not None:
            continue
        if item.s3_input is None:
            raise ValueError(
                f"The input {item.input_name} needs both a source and a destination "
                f"(given: source={item.source!r}, destination={item.destination!r})."
            )
        uri = item.s3_input.s3_uri
        if is_s3(uri):
            continue
        path = local_path(uri)
        if path is None:
            scheme = uri.partition("://")[0]
            raise ValueError(
                f"source {uri} of the input {item.input_name}: url scheme {scheme} is not recognized. "
                "Please pass a file path or S3 url"
            )
        if not Path(path).exists():
            raise FileNotFoundError(
                f"The source {uri} of the input {item.input_name} does not exist ({Path(path).absolute()})."
            )


def inputs_of(description: Mapping[str, Any]) -> list[ProcessingInput] | None:
    """The inputs that a DescribeProcessingJob answer names; None when it has none."""
    members = description.get("ProcessingInputs")
    if not members:
        return None
    return [
        ProcessingInput(
            input_name=member["InputName"],
            s3_input=S3Input.from_boto(member.get("S3Input")),
            dataset_definition=DatasetDefinition.from_boto(member.get("DatasetDefinition")),
            app_managed=member.get("AppManaged", False),
        )
        for member in members
    ]


def outputs_of(description: Mapping[str, Any]) -> list[ProcessingOutput] | None:
    """The outputs that a DescribeProcessingJob answer names; None when it has none."""
    members = description.get("ProcessingOutputConfig", {}).get("Outputs")
    if not members:
        return None
    outputs = []
    for member in members:
        s3 = member.get("S3Output", {})
        outputs.append(
            ProcessingOutput(
                source=s3.get("LocalPath"),
                destination=s3.get("S3Uri"),
                output_name=member["OutputName"],
                s3_upload_mode=s3.get("S3UploadMode", "EndOfJob"),
                app_managed=member.get("AppManaged", False),
                feature_store_output=FeatureStoreOutput.from_boto(member.get("FeatureStoreOutput")),
            )
        )
    return outputs
