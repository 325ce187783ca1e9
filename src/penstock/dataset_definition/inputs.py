"""The structures behind a ProcessingInput: S3 objects, or the result of an Athena or Redshift query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from penstock.client.shapes import ApiObject


class RedshiftDatasetDefinition(ApiObject):
    """A query to a Redshift cluster whose result becomes the input.

    Args:
        cluster_id: The cluster's name.
        database: The database in it.
        db_user: Its user.
        query_string: SQL.
        cluster_role_arn: The role of the cluster that may write to `output_s3_uri`.
        output_s3_uri: Where the result is kept.
        kms_key_id: The key that encrypts the result.
        output_format: `PARQUET` or `CSV`.
        output_compression: `None`, `GZIP`, `SNAPPY`, `ZSTD` or `BZIP2`.
    """

    def __init__(
        self,
        cluster_id: str | None = None,
        database: str | None = None,
        db_user: str | None = None,
        query_string: str | None = None,
        cluster_role_arn: str | None = None,
        output_s3_uri: str | None = None,
        kms_key_id: str | None = None,
        output_format: str | None = None,
        output_compression: str | None = None,
    ) -> None:
        super().__init__(
            cluster_id=cluster_id,
            database=database,
            db_user=db_user,
            query_string=query_string,
            cluster_role_arn=cluster_role_arn,
            output_s3_uri=output_s3_uri,
            kms_key_id=kms_key_id,
            output_format=output_format,
            output_compression=output_compression,
        )


class AthenaDatasetDefinition(ApiObject):
    """A query to Athena whose result becomes the input.

    Args:
        catalog: The data catalogue.
        database: The database in it.
        query_string: SQL.
        output_s3_uri: Where the result is kept.
        work_group: Athena's work group.
        kms_key_id: The key that encrypts the result.
        output_format: `PARQUET`, `ORC`, `AVRO`, `JSON` or `TEXTFILE`.
        output_compression: `GZIP`, `SNAPPY` or `ZLIB`.
    """

    def __init__(
        self,
        catalog: str | None = None,
        database: str | None = None,
        query_string: str | None = None,
        output_s3_uri: str | None = None,
        work_group: str | None = None,
        kms_key_id: str | None = None,
        output_format: str | None = None,
        output_compression: str | None = None,
    ) -> None:
        super().__init__(
            catalog=catalog,
            database=database,
            query_string=query_string,
            output_s3_uri=output_s3_uri,
            work_group=work_group,
            kms_key_id=kms_key_id,
            output_format=output_format,
            output_compression=output_compression,
        )


class DatasetDefinition(ApiObject):
    """An input that is the result of a query; sent as it is, and not run on a local server.

    Args:
        data_distribution_type: `FullyReplicated` or `ShardedByS3Key`.
        input_mode: `File` or `Pipe`.
        local_path: Absolute path in the job, under `/opt/ml/processing/`.
        redshift_dataset_definition: The query, if it goes to Redshift.
        athena_dataset_definition: The query, if it goes to Athena.
    """

    _nested: ClassVar[Mapping[str, type[ApiObject]]] = {
        "redshift_dataset_definition": RedshiftDatasetDefinition,
        "athena_dataset_definition": AthenaDatasetDefinition,
    }

    def __init__(
        self,
        data_distribution_type: str = "ShardedByS3Key",
        input_mode: str = "File",
        local_path: str | None = None,
        redshift_dataset_definition: RedshiftDatasetDefinition | None = None,
        athena_dataset_definition: AthenaDatasetDefinition | None = None,
    ) -> None:
        super().__init__(
            data_distribution_type=data_distribution_type,
            input_mode=input_mode,
            local_path=local_path,
            redshift_dataset_definition=redshift_dataset_definition,
            athena_dataset_definition=athena_dataset_definition,
        )


class S3Input(ApiObject):
    """An input that lies in S3.

    Args:
        s3_uri: An object, a prefix, or a manifest file.
        local_path: Absolute path in the job, under `/opt/ml/processing/`.
        s3_data_type: `S3Prefix` or `ManifestFile`.
        s3_input_mode: `File` or `Pipe`.
        s3_data_distribution_type: `FullyReplicated` or `ShardedByS3Key`.
        s3_compression_type: `None` or `Gzip` (with `Pipe` only).
    """

    s3_uri: str
    local_path: str | None
    s3_data_type: str
    s3_input_mode: str
    s3_data_distribution_type: str
    s3_compression_type: str | None

    def __init__(
        self,
        s3_uri: str | None = None,
        local_path: str | None = None,
        s3_data_type: str = "S3Prefix",
        s3_input_mode: str = "File",
        s3_data_distribution_type: str = "FullyReplicated",
        s3_compression_type: str | None = None,
    ) -> None:
        super().__init__(
            s3_uri=s3_uri,
            local_path=local_path,
            s3_data_type=s3_data_type,
            s3_input_mode=s3_input_mode,
            s3_data_distribution_type=s3_data_distribution_type,
            s3_compression_type=s3_compression_type,
        )
