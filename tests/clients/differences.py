"""The differences between the two SDKs' requests that are meant, each with its reason. There are no others.

Some never show, as `record_requests.py` makes them equal: the time within names, which is another one in each run;
the text of `runproc.sh`, which is Penstock's own, up to the command that it starts; and what was uploaded before
an error, as Penstock looks at everything before its first upload. The default bucket differs only by the account's
number, which is the same one there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meant:
    """One difference.

    Attributes:
        reason: Why it is meant.
        combinations: Where it shows; each must show it.
        member: The path of what differs; `*` stands for any text.
        official: What the official SDK has there; None: nothing. `…` at the end stands for any text.
        own: What Penstock has there.
    """

    reason: str
    combinations: tuple[str, ...]
    member: str
    official: str | None
    own: str | None


IN_ACCEPTED = "Accepted here, as file:// URLs are where a script is named alone: the official SDK takes them for names of files."
NAMES = "The API refuses these characters in a job's name, so that the official SDK's request fails; here they become `-`."
NO_KMS = (
    "The local store has neither a KMS nor other owners, and would have to refuse or ignore these headers."
)
WHOLE = "The API has no type `local`; the largest types give a job all of the machine, as local mode does."
WORDS = "Of the same type; the text says what is wrong, where, and what to do."
ACCIDENT = "The official error is an accident (None is used as something); this one says what is wrong."
VERSIONS = (
    "The same error; the text speaks of Penstock, and lists the versions that it has, the nearest first."
)
PY3 = "`py3` is the default of every FrameworkProcessor, and means the Python that the framework's version comes with."
GIT = "`--` keeps an address from being taken for an option; credentials are neither in arguments nor in the text."

LOCAL = ("local", "local script", "local framework")
UNPAIRED = ("no session", "no session, with a key", "no session, framework")

MEANT = (
    *(
        Meant(NAMES, (combination,), member, f"{official}-<time>", f"{own}-<time>")
        for combination, official, own in (
            ("name from an image by digest", "image@sha256", "image"),
            ("name from an image with underscores", "my_image", "my-image"),
            ("name from a base with underscores", "my_base", "my-base"),
        )
        for member in ("job.job_name", "requests.0.CreateProcessingJob.ProcessingJobName")
    ),
    # Taken here, refused there
    Meant(
        IN_ACCEPTED,
        ("input from a file URL", "input from a folder's URL", "framework with a script's URL"),
        "error",
        "FileNotFoundError: [Errno 2] No such file or directory: 'file://<here>/…",
        None,
    ),
    Meant(
        IN_ACCEPTED,
        ("framework with file URLs",),
        "error",
        'ValueError: No file named "eval.py" was found in directory "file://<here>/src".',
        None,
    ),
    Meant(
        PY3,
        ("PyTorch 1.10 with py3", "framework of PyTorch, default Python"),
        "error",
        "ValueError: Unsupported Python version: py3. You may need to upgrade your SDK…",
        None,
    ),
    # Refused here, taken there
    Meant(
        "S3 has no folders, so nothing would arrive and the job would fail later.",
        ("input from an empty folder",),
        "error",
        None,
        "ValueError: The source of the input input-1: the folder empty holds no files.",
    ),
    Meant(
        "Nothing can run a folder without a `__main__.py`, so the job would fail later.",
        ("framework's script is a folder",),
        "error",
        None,
        "ValueError: code src must be a file, or a folder with a __main__.py.",
    ),
    # The local server
    Meant(NO_KMS, (*UNPAIRED, *LOCAL), "uploads.*.x-amz-expected-bucket-owner", "111122223333", None),
    Meant(
        NO_KMS,
        ("no session, with a key", "no session, framework", "local framework"),
        "uploads.*.x-amz-server-side-encryption",
        "aws:kms",
        None,
    ),
    Meant(
        NO_KMS,
        ("no session, with a key",),
        "uploads.*.x-amz-server-side-encryption-aws-kms-key-id",
        "upload-key",
        None,
    ),
    Meant(
        WHOLE,
        (*LOCAL, "local, with another session"),
        "requests.0.*.InstanceType",
        "local",
        "ml.m8i.96xlarge",
    ),
    Meant(WHOLE, ("local with GPU",), "requests.0.*.InstanceType", "local_gpu", "ml.g6e.48xlarge"),
    # Errors
    Meant(
        ACCIDENT,
        ("input without destination", "input that is empty"),
        "error",
        "AttributeError: 'NoneType' object has no attribute 's3_uri'",
        "ValueError: The input input-1 needs both a source and a destination (given: source=…",
    ),
    Meant(
        ACCIDENT,
        ("no image and no name",),
        "error",
        "TypeError: expected string or bytes-like object, got 'NoneType'",
        "ParamValidationError: Parameter validation failed: Invalid type for parameter AppSpecification.ImageUri…",
    ),
    Meant(
        ACCIDENT,
        ("script that is None",),
        "error",
        "ValueError: code None url scheme b'' is not recognized. Please pass a file path or S3 url",
        "ValueError: code is required: an S3 URI or the path of a local file.",
    ),
    Meant(
        ACCIDENT,
        ("script without command",),
        "error",
        "TypeError: unsupported operand type(s) for +: 'NoneType' and 'list'",
        "TypeError: The processor has no command to run the script with, such as ['python3'].",
    ),
    Meant(
        "An address is no name of a file; refused as the same address is for a script.",
        ("input with another scheme",),
        "error",
        "FileNotFoundError: [Errno 2] No such file or directory: 'https://host/x'",
        "ValueError: source https://host/x of the input input-1: url scheme https is not recognized. "
        "Please pass a file path or S3 url",
    ),
    Meant(
        WORDS,
        ("input that does not exist",),
        "error",
        "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'",
        "FileNotFoundError: The source nowhere of the input input-1 does not exist (<here>/nowhere).",
    ),
    Meant(
        WORDS,
        ("framework's script does not exist",),
        "error",
        "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.py'",
        "FileNotFoundError: code nowhere.py wasn't found. Please make sure that the file exists.",
    ),
    Meant(
        WORDS,
        ("framework's dependency does not exist",),
        "error",
        "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'",
        "FileNotFoundError: The dependency nowhere wasn't found. Please make sure that it exists.",
    ),
    *(
        Meant(
            VERSIONS,
            (combination,),
            "error",
            f"ValueError: Unsupported {what}. You may need to upgrade your SDK version…",
            f"ValueError: Unsupported {what}. This version of Penstock does not know it; a newer one may. Supported…",
        )
        for combination, what in (
            ("framework of no such version", "xgboost version: 9"),
            ("framework of no such Python", "Python version: py27"),
            ("SKLearn of no such version", "sklearn version: 9"),
            ("SKLearn on a GPU", "processor: gpu"),
        )
    ),
    *(
        Meant(
            GIT,
            (combination,),
            "error",
            f"CalledProcessError: Command '['git', 'clone', '{official}', '<folder>']' returned non-zero exit status 128.",
            f"CalledProcessError: Command '['git', 'clone', '--', '{own}', '<folder>']' returned non-zero exit status 128.",
        )
        for combination, official, own in (
            ("Git with a wrong SSH address", "git@git.invalid", "git@git.invalid"),
            ("Git without a host", "https:///x", "https:///x"),
            (
                "Git with another user name",
                "https://<credentials-redacted>@git.invalid/x",
                "https://git.invalid/x",
            ),
            ("Git with a path that climbs", "https://git.invalid/../x", "https://git.invalid/../x"),
        )
    ),
    Meant(
        "Every character that a host's name can't have is refused by one rule, and so in the same words.",
        ("Git with a percent sign",),
        "error",
        "ValueError: Suspicious URL encoding detected in hostname: %40",
        "ValueError: Invalid characters in hostname",
    ),
    Meant(
        "Inputs are looked at before the first upload, and have their names since; the official SDK gives the same later.",
        ("run arguments of a framework",),
        "answer.inputs.0.input_name",
        None,
        "input-1",
    ),
)
