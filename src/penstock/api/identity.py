"""sts:GetCallerIdentity and iam:GetRole: what SDK sessions ask before they submit a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.permissions import session_arn

#: The role that GetCallerIdentity says the caller has assumed; `get_execution_role()` turns it into its ARN.
ROLE = "penstock"
_ROLE_ID = "AROAPENSTOCK00000000"


def caller(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """An assumed role, because the SDKs derive the execution role from it; for a job's program, the job's."""
    del params
    arn = f"arn:aws:sts::{context.account}:assumed-role/{ROLE}/{ROLE}"
    if context.caller is not None:
        arn = session_arn(context.account, context.caller)
    return {
        "UserId": user_id(arn),
        "Account": context.account,
        "Arn": arn,
    }


def user_id(arn: str) -> str:
    """What AWS calls the unique ID of an assumed role: the role's own, and the name of the session."""
    return f"{_ROLE_ID}:{arn.rpartition('/')[2]}"


def get_role(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Any role name exists: there is no IAM here, and jobs run with the rights of whoever runs Penstock."""
    name = params["RoleName"]
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": _ROLE_ID,
            "Arn": f"arn:aws:iam::{context.account}:role/{name}",
            "CreateDate": 0,
            "AssumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D",
        }
    }
