"""sts:GetCallerIdentity and iam:GetRole: what SDK sessions ask before they submit a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.permissions import session_arn

#: The role that GetCallerIdentity says the caller has assumed; `get_execution_role()` turns it into its ARN.
ROLE = "penstock"


def caller(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """An assumed role, because the SDKs derive the execution role from it; for a job's program, the job's."""
    del params
    arn = f"arn:aws:sts::{context.account}:assumed-role/{ROLE}/{ROLE}"
    if context.caller is not None:
        arn = session_arn(context.account, context.caller)
    return {
        "UserId": f"AROAPENSTOCK00000000:{arn.rpartition('/')[2]}",
        "Account": context.account,
        "Arn": arn,
    }


def get_role(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Any role name exists: there is no IAM here, and jobs run with the rights of whoever runs Penstock."""
    name = params["RoleName"]
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROAPENSTOCK00000000",
            "Arn": f"arn:aws:iam::{context.account}:role/{name}",
            "CreateDate": 0,
            "AssumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D",
        }
    }
