"""Session: the connection of processors to a server, to S3 and to logs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.client import defaults, roles, transfer, waiting
from penstock.client.connection import Connection
from penstock.client.names import s3_path_join, tag_list

logger = logging.getLogger("penstock")


class Session:
    """Talks to the server that runs jobs, and to its S3.

    Without arguments, and without AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_SAGEMAKER in the environment, this is
    the local server, which is started if none runs; AWS settings of the user are not looked at then. What
    is given is used as it is. Nothing is called, and boto3 not even loaded, until it is needed.

    Args:
        boto_session: A boto3 session for all clients.
        sagemaker_client: A client for the SageMaker API.
        sagemaker_runtime_client: Kept as an attribute; endpoints are not part of Processing.
        sagemaker_featurestore_runtime_client: Kept as an attribute.
        default_bucket: The bucket for what has no place of its own; made when missing. Otherwise
            `sagemaker-<region>-<account>`.
        settings: A `SessionSettings`.
        sagemaker_metrics_client: A client for metrics.
        sagemaker_config: Default values, as a dict in the layout of SageMaker's configuration files.
        default_bucket_prefix: Put before all keys in the default bucket.

    Attributes:
        local_mode: True for a LocalSession.
        config: Settings of local mode; may be set, and changes nothing: see LocalSession.
    """

    local_mode = False

    def __init__(
        self,
        boto_session: Any = None,
        sagemaker_client: Any = None,
        sagemaker_runtime_client: Any = None,
        sagemaker_featurestore_runtime_client: Any = None,
        default_bucket: str | None = None,
        settings: Any = None,
        sagemaker_metrics_client: Any = None,
        sagemaker_config: Mapping[str, Any] | None = None,
        default_bucket_prefix: str | None = None,
    ) -> None:
        self._connection = Connection(boto_session, sagemaker_client, sagemaker_metrics_client)
        self._wanted_bucket = defaults.lookup(sagemaker_config, defaults.BUCKET, default_bucket)
        self._default_bucket: str | None = None
        self.sagemaker_runtime_client = sagemaker_runtime_client
        self.sagemaker_featurestore_runtime_client = sagemaker_featurestore_runtime_client
        self.settings = settings
        self.sagemaker_config = sagemaker_config or {}
        self.default_bucket_prefix = defaults.lookup(
            sagemaker_config, defaults.BUCKET_PREFIX, default_bucket_prefix
        )
        self.config: Mapping[str, Any] | None = None

    @property
    def is_local(self) -> bool:
        """Whether this session uses the local server, found or started by itself."""
        return self._connection.is_local

    @property
    def local_inputs(self) -> Sequence[str]:
        """The folders from which the local server mounts explicit `file://` inputs instead of having them uploaded."""
        return self._connection.address.local_inputs if self.is_local else ()

    @property
    def boto_session(self) -> Any:
        """The boto3 session; on the local server, one whose clients all go there."""
        return self._connection.boto_session

    @property
    def boto_region_name(self) -> str:
        """The region."""
        return self._connection.region

    @property
    def sagemaker_client(self) -> Any:
        """The boto3 client for the SageMaker API, with all operations that boto3 knows."""
        return self._connection.full_sagemaker

    @sagemaker_client.setter
    def sagemaker_client(self, client: Any) -> None:
        self._connection.sagemaker_client = client

    @property
    def sagemaker_metrics_client(self) -> Any:
        """The boto3 client for metrics."""
        return self._connection.metrics

    @property
    def s3_client(self) -> Any:
        """The boto3 client for S3."""
        return self._connection.s3

    @property
    def s3_resource(self) -> Any:
        """The boto3 resource for S3."""
        return self.boto_session.resource("s3", region_name=self.boto_region_name)

    def account_id(self) -> str:
        """The 12-digit account id."""
        return self._connection.account

    def get_caller_identity_arn(self) -> str:
        """The ARN of the user or role that calls."""
        return roles.caller(self._connection)

    def expand_role(self, role: str) -> str:
        """The ARN of the role named `role`; an ARN is returned as it is."""
        return roles.arn(self._connection, role)

    # Storage

    def default_bucket(self) -> str:
        """The bucket for what has no place of its own. Made when it does not exist.

        Raises:
            botocore.exceptions.ClientError: The bucket belongs to somebody else, or can't be made.
        """
        if self._default_bucket is None:
            self._default_bucket = self._find_bucket()
        return self._default_bucket

    def _find_bucket(self) -> str:
        if self.is_local and self._wanted_bucket in {None, self._connection.address.bucket}:
            return self._connection.address.bucket  # the server has made it
        bucket = self._wanted_bucket or f"sagemaker-{self.boto_region_name}-{self.account_id()}"
        from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

        try:
            self.s3_client.head_bucket(Bucket=bucket, **self._owner(bucket))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code not in {"404", "NoSuchBucket"}:
                logger.error("The bucket %s can't be used: %s", bucket, error)  # noqa: TRY400 - raised on
                raise
            self._make_bucket(bucket)
        return str(bucket)

    def _make_bucket(self, bucket: str) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

        region = self._connection.s3_region
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self.s3_client.create_bucket(Bucket=bucket, **where)
        except ClientError as error:
            # Somebody else of the same account is making it at this moment.
            if error.response.get("Error", {}).get("Code") not in {
                "OperationAborted",
                "BucketAlreadyOwnedByYou",
            }:
                raise
        else:
            logger.info("Created S3 bucket: %s", bucket)

    def _owner(self, bucket: str) -> dict[str, str]:
        """On AWS, anybody may own the bucket whose name is derived from an account: say who must."""
        if self.is_local or self._wanted_bucket or not bucket.startswith("sagemaker-"):
            return {}
        derived = f"sagemaker-{self.boto_region_name}-{self.account_id()}"
        return {"ExpectedBucketOwner": self.account_id()} if bucket == derived else {}

    def _extra(self, bucket: str, extra: Mapping[str, Any] | None) -> dict[str, Any]:
        """Extra arguments of a request to S3: the caller's and the owner; no KMS where there is none."""
        wanted = dict(extra or {})
        if not self._connection.has_kms:
            wanted.pop("ServerSideEncryption", None)
            if wanted.pop("SSEKMSKeyId", None):
                logger.warning("The local store has no KMS: what goes to s3://%s is not encrypted.", bucket)
        return {**wanted, **self._owner(bucket)}

    def upload_data(
        self,
        path: str,
        bucket: str | None = None,
        key_prefix: str = "data",
        callback: Callable[[int], None] | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload the file `path` to `<key_prefix>/<its name>`, or the folder `path` to `key_prefix`.

        Args:
            path: A file or a folder.
            bucket: The default bucket (with the default prefix) when None.
            key_prefix: The start of the keys.
            callback: Called with the number of bytes sent since its last call.
            extra_args: boto3's ExtraArgs.

        Returns:
            The URI of the file, or of the prefix for a folder.

        Raises:
            FileNotFoundError: Nothing is at `path`.
        """
        if bucket is None:
            bucket = self.default_bucket()
            key_prefix = s3_path_join(self.default_bucket_prefix, key_prefix)
        extra = self._extra(bucket, extra_args)
        return transfer.upload(self.s3_client, path, bucket, key_prefix, extra, callback)

    def upload_string_as_file_body(
        self, body: str | bytes, bucket: str, key: str, kms_key: str | None = None
    ) -> str:
        """Store `body` as one object and return its URI."""
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key is not None else None
        return self.put_object(body, bucket, key, extra)

    def put_object(
        self, body: str | bytes, bucket: str, key: str, extra_args: Mapping[str, Any] | None = None
    ) -> str:
        """Store `body` as one object and return its URI; `extra_args` are those of S3's PutObject."""
        extra = self._extra(bucket, extra_args)
        self.s3_client.put_object(Bucket=bucket, Key=key, Body=body, **extra)
        return f"s3://{bucket}/{key}"

    def download_data(
        self, path: str, bucket: str, key_prefix: str = "", extra_args: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Download an object, or all objects of a folder, into the folder `path`.

        Returns:
            The paths of the files written; none when nothing has that prefix.

        Raises:
            ValueError: A key would be written outside of `path`.
        """
        owner = self._owner(bucket)
        extra = {**(extra_args or {}), **owner} or None
        files = transfer.download(self.s3_client, path, bucket, key_prefix, owner, extra)
        if not files:
            logger.info("Nothing to download from bucket: %s, key_prefix: %s.", bucket, key_prefix)
        return files

    def get_object(self, bucket: str, key: str) -> bytes:
        """The bytes of one object."""
        body: bytes = self.s3_client.get_object(Bucket=bucket, Key=key, **self._owner(bucket))["Body"].read()
        return body

    def read_s3_file(self, bucket: str, key_prefix: str) -> str:
        """The text of the object `key_prefix`, which must be UTF-8."""
        return self.get_object(bucket, key_prefix).decode()

    def list_s3_files(self, bucket: str, key_prefix: str) -> list[str]:
        """All keys that start with `key_prefix`."""
        return [key for key, _ in self._objects(bucket, key_prefix)]

    def _objects(self, bucket: str, key_prefix: str) -> list[tuple[str, int]]:
        """Key and size of all objects whose key starts with `key_prefix`."""
        return transfer.objects(self.s3_client, bucket, key_prefix, self._owner(bucket))

    # Jobs

    def process(
        self,
        inputs: Sequence[Mapping[str, Any]],
        output_config: Mapping[str, Any],
        job_name: str,
        resources: Mapping[str, Any],
        stopping_condition: Mapping[str, Any] | None,
        app_specification: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        network_config: Mapping[str, Any] | None = None,
        role_arn: str | None = None,
        tags: Any = None,
        experiment_config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a job from the parts of a CreateProcessingJob request, as the API words them.

        Raises:
            botocore.exceptions.ClientError: The server refuses the request; the message names the member.
        """
        config = self.sagemaker_config
        all_tags = tag_list(tags)
        if usual := defaults.lookup(config, defaults.TAGS):
            own = {tag["Key"] for tag in all_tags or ()}
            all_tags = [*(all_tags or ()), *(tag for tag in usual if tag["Key"] not in own)]
        optional = {
            "ProcessingInputs": defaults.inputs(config, inputs) or None,
            "ProcessingOutputConfig": defaults.merge(output_config, defaults.lookup(config, defaults.OUTPUT))
            if output_config["Outputs"]
            else None,
            "Environment": defaults.lookup(config, defaults.ENVIRONMENT, environment),
            "NetworkConfig": defaults.merge(network_config, defaults.lookup(config, defaults.NETWORK)),
            "StoppingCondition": stopping_condition,
            "Tags": all_tags,
            "ExperimentConfig": experiment_config or None,
        }
        request = {
            "ProcessingJobName": job_name,
            "ProcessingResources": defaults.merge(resources, defaults.lookup(config, defaults.RESOURCES)),
            "AppSpecification": app_specification,
            "RoleArn": defaults.lookup(config, defaults.ROLE, role_arn),
            **{name: value for name, value in optional.items() if value is not None},
        }
        logger.info("Creating processing-job with name %s", job_name)
        self._connection.sagemaker.create_processing_job(**request)

    def describe_processing_job(self, job_name: str) -> dict[str, Any]:
        """What DescribeProcessingJob answers."""
        answer: dict[str, Any] = self._connection.sagemaker.describe_processing_job(
            ProcessingJobName=job_name
        )
        return answer

    def stop_processing_job(self, job_name: str) -> None:
        """Ask for the job to be stopped; does not wait for it."""
        self._connection.sagemaker.stop_processing_job(ProcessingJobName=job_name)

    def wait_for_processing_job(self, job: str, poll: float = 5) -> dict[str, Any]:
        """Wait until the job has ended, printing one character for its status every `poll` seconds.

        In a notebook, on the local server, a card of the job is drawn in their place.

        Returns:
            The last answer of DescribeProcessingJob.

        Raises:
            UnexpectedStatusException: The job failed.
        """
        return waiting.wait(self._connection, job, poll)

    def logs_for_processing_job(self, job_name: str, wait: bool = False, poll: float = 10) -> None:
        """Print the job's log lines; with `wait`, until it has ended.

        In a notebook, on the local server and with `wait`, a card of the job with the last lines is drawn instead.

        Raises:
            UnexpectedStatusException: The job failed (with `wait` only).
        """
        waiting.follow(self._connection, job_name, wait=wait, poll=poll)


def get_execution_role(sagemaker_session: Session | None = None, use_default: bool = False) -> str:
    """The ARN of the role that calls, for a processor's `role`.

    Args:
        sagemaker_session: The session; a new one when None.
        use_default: Use (and make) SageMaker's default role when the caller is not a role.

    Raises:
        ValueError: The caller is not a role.
    """
    session = sagemaker_session or Session()
    arn = session.get_caller_identity_arn()
    if ":role/" in arn:
        return arn
    if use_default:
        return roles.default(session._connection)  # noqa: SLF001 - of this module
    raise ValueError(
        f"The current AWS identity is not a role: {arn}, therefore it cannot be used as a "
        "SageMaker execution role"
    )
