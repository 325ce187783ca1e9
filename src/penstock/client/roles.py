"""Role names and ARNs. The local server runs every role, so there it need not be asked."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from penstock.client.connection import Connection

logger = logging.getLogger("penstock")

#: The role of whoever names none on the local server.
LOCAL_ROLE = "penstock"

_DEFAULT_ROLE = "AmazonSageMaker-DefaultRole"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": ["sagemaker.amazonaws.com"]}, "Action": "sts:AssumeRole"}
    ],
}


def arn(connection: Connection, role: str) -> str:
    """The ARN of `role`. What has a `/` is taken for an ARN already, as SageMaker's SDK does."""
    if "/" in role:
        return role
    if connection.is_local:
        return local_arn(connection, role)
    return _get(connection, role)


def local_arn(connection: Connection, role: str = LOCAL_ROLE) -> str:
    """The ARN that the local server would give for `role`."""
    return f"arn:aws:iam::{connection.account}:role/{role}"


def caller(connection: Connection) -> str:
    """The ARN of who calls: of the role itself when a role has been assumed."""
    if connection.is_local:
        return local_arn(connection)
    identity = str(connection.identity()["Arn"])
    found = re.fullmatch(r"(.+):sts::(\d+):assumed-role/(.+?)/.*", identity)
    if found is None:
        return identity
    partition, account, name = found.groups()
    from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

    try:
        return _get(connection, name)  # an assumed role's ARN lacks the role's path
    except ClientError:
        logger.warning("Couldn't call 'get_role' for the role %s, so its path is taken to be empty.", name)
        path = "service-role/" if "AmazonSageMaker-ExecutionRole" in name else ""
        return f"{partition}:iam::{account}:role/{path}{name}"


def default(connection: Connection) -> str:
    """The ARN of SageMaker's default role, made where it does not exist yet."""
    logger.warning("Using default role: %s", _DEFAULT_ROLE)
    iam = connection.boto_session.client("iam")
    try:
        iam.get_role(RoleName=_DEFAULT_ROLE)
    except iam.exceptions.NoSuchEntityException:
        iam.create_role(RoleName=_DEFAULT_ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))
        logger.warning("Created new sagemaker execution role: %s", _DEFAULT_ROLE)
    iam.attach_role_policy(
        PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess", RoleName=_DEFAULT_ROLE
    )
    return _get(connection, _DEFAULT_ROLE)


def _get(connection: Connection, name: str) -> str:
    answer: dict[str, Any] = connection.boto_session.client("iam").get_role(RoleName=name)
    return str(answer["Role"]["Arn"])
