"""Defaults from a Session's `sagemaker_config`: a dict in the layout of SageMaker's configuration files.

Only the dict is read. The files that SageMaker's own SDK looks for describe an AWS account (its roles, keys
and buckets), which is not what a job on this machine runs in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.network import NetworkConfig

_JOB = "SageMaker.ProcessingJob"
ROLE = f"{_JOB}.RoleArn"
ENVIRONMENT = f"{_JOB}.Environment"
TAGS = f"{_JOB}.Tags"
INPUTS = f"{_JOB}.ProcessingInputs"
NETWORK = f"{_JOB}.NetworkConfig"
RESOURCES = f"{_JOB}.ProcessingResources"
OUTPUT = f"{_JOB}.ProcessingOutputConfig"
VOLUME_KEY = f"{RESOURCES}.ClusterConfig.VolumeKmsKeyId"
OUTPUT_KEY = f"{OUTPUT}.KmsKeyId"
BUCKET = "SageMaker.PythonSDK.Modules.Session.DefaultS3Bucket"
BUCKET_PREFIX = "SageMaker.PythonSDK.Modules.Session.DefaultS3ObjectKeyPrefix"


def lookup(config: Mapping[str, Any] | None, path: str, given: Any = None) -> Any:
    """`given` unless it is None, else what `config` has at the dotted `path`, else None."""
    if given is not None:
        return given
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def merge(given: Mapping[str, Any] | None, default: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`given` with what only `default` has, at every level."""
    if given is None or not default:
        return dict(given or default or {}) or None
    merged = dict(default)
    for name, value in given.items():
        below = merged.get(name)
        merged[name] = (
            merge(value, below) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
        )
    return merged


def inputs(config: Mapping[str, Any] | None, given: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """`given`, each with what the configuration's input at the same place has besides.

    Where the two are of different kinds (S3 and a query, or queries of two services) the given one stays as it is.
    """
    filled = list(given)
    for place, (item, default) in enumerate(zip(given, lookup(config, INPUTS) or (), strict=False)):
        merged = merge(item, default) or {}
        query = merged.get("DatasetDefinition", {})
        of_two_kinds = {"S3Input", "DatasetDefinition"} <= merged.keys() or (
            {"AthenaDatasetDefinition", "RedshiftDatasetDefinition"} <= query.keys()
        )
        if not of_two_kinds:
            filled[place] = merged
    return filled


def network(config: Mapping[str, Any] | None, given: NetworkConfig | None) -> NetworkConfig | None:
    """`given` with what it leaves open filled from the configuration; None when neither says anything."""
    values = {
        "subnets": lookup(config, f"{NETWORK}.VpcConfig.Subnets"),
        "security_group_ids": lookup(config, f"{NETWORK}.VpcConfig.SecurityGroupIds"),
        "enable_network_isolation": lookup(config, f"{NETWORK}.EnableNetworkIsolation"),
        "encrypt_inter_container_traffic": lookup(config, f"{NETWORK}.EnableInterContainerTrafficEncryption"),
    }
    if all(value is None for value in values.values()):
        return given
    own = {name: getattr(given, name, None) for name in values}
    return NetworkConfig(**(values | {name: value for name, value in own.items() if value is not None}))
