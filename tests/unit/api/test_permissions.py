"""What of S3 a job's program may use; everything that is not listed is refused."""

import pytest

from penstock.api import permissions
from penstock.job.life import Job
from penstock.wire.faults import Fault

JOB = Job("j", "j-1", "arn:aws:sagemaker:r:1:processing-job/j", {"RoleArn": "arn:aws:iam::1:role/x/r"}, 0, 0)


def check(method, target, **headers):
    path, _, query = target.partition("?")
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    permissions.check_s3("1", JOB, method, path.encode(), query.encode(), raw)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/?x-id=ListBuckets"),
        ("HEAD", "/bucket"),
        ("PUT", "/sagemaker-r-1"),
        ("GET", "/bucket?list-type=2&prefix=a&encoding-type=url"),
        ("GET", "/bucket/?location"),
        ("POST", "/bucket?delete"),
        ("GET", "/bucket/key?versionId=1&response-content-type=x"),
        ("PUT", "/bucket/a%20b/%2B"),
        ("PUT", "/bucket/key?partNumber=1&uploadId=x"),
        ("POST", "/bucket/key?uploads"),
        ("DELETE", "/bucket/key?uploadId=x"),
        ("DELETE", "/bucket/a..b/.c"),
        ("GET", "/bucket/k?X-Amz-Algorithm=a&X-Amz-Signature=b&X-Amz-Security-Token=c&x-amz-checksum-mode=E"),
    ],
)
def test_objects_may_be_used(method, target):
    check(method, target)


@pytest.mark.parametrize(
    ("method", "target", "action"),
    [
        ("PUT", "/bucket", "CreateBucket"),
        ("DELETE", "/bucket", "DeleteBucket"),
        ("DELETE", "/bucket/", "DeleteBucket"),
        ("DELETE", "/bucket//", "DeleteObject"),
        ("DELETE", "/bucket/%2F", "DeleteObject"),
        ("DELETE", "/bucket/x/..", "DeleteObject"),
        ("DELETE", "/bucket/x/%2e%2e/%2e%2e/other/k", "DeleteObject"),
        ("GET", "/../etc", "GetObject"),
        ("GET", "//bucket/key", "GetObject"),
        ("PUT", "/sagemaker-r-2", "CreateBucket"),
        ("PUT", "/sagemaker-r-1?policy", "PutBucketPolicy"),
        ("DELETE", "/sagemaker-r-1", "DeleteBucket"),
        ("PUT", "/bucket?policy", "PutBucketPolicy"),
        ("PUT", "/bucket?%70olicy", "PutBucketPolicy"),
        ("PUT", "/bucket/key?acl", "PutObjectAcl"),
        ("PUT", "/bucket/key?x-amz-acl=public-read", "PutObjectX"),
        ("PUT", "/bucket/key?tagging&acl", "PutObjectAcl"),
        ("GET", "/bucket?acl", "GetBucketAcl"),
        ("POST", "/bucket", "PutBucket"),
        ("PUT", "/", "Put"),
        ("POST", "/?Action=CreateUser", "Put"),
    ],
)
def test_all_else_is_refused(method, target, action):
    with pytest.raises(Fault, match=f"is not authorized to perform: s3:{action}") as caught:
        check(method, target)
    assert caught.value.code == "AccessDeniedException"
    assert caught.value.message.startswith("User: arn:aws:sts::1:assumed-role/r/SageMaker is not")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_acl": "public-read"},
        {"x_amz_grant_read": "uri=x"},
        {"x_amz_bypass_governance_retention": "true"},
    ],
)
def test_nobody_else_is_given_rights(headers):
    with pytest.raises(Fault, match="s3:PutObjectAcl"):
        check("PUT", "/bucket/key", **headers)
    check("PUT", "/bucket/key", x_amz_acl="bucket-owner-full-control")
