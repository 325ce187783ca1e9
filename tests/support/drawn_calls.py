"""Any call of any operation, drawn from the models and then spoilt, and what may be answered to it."""

import copy
import itertools
import json
from urllib.parse import urlencode

from botocore.parsers import create_parser
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from wire_client import WireClient

from penstock.api.operations import OPERATIONS
from penstock.job.events import Host
from penstock.job.life import Started, Succeeded, advance
from penstock.job.lineage import artifact_key
from penstock.wire import model
from penstock.wire.patterns import translate

NAMES = ("job-a", "job-b", "job-c")
GROUP = "/aws/sagemaker/ProcessingJobs"
ARNS = tuple(f"arn:aws:sagemaker:eu-west-1:111122223333:processing-job/{name}" for name in NAMES)
PART_ARNS = tuple(
    f"arn:aws:sagemaker:eu-west-1:111122223333:{part}"
    for part in (
        "experiment/e",
        "experiment-trial/t",
        "experiment-trial-component/other",
        "experiment/none",
        f"artifact/{artifact_key('s3://b/k')}",
    )
)
#: Texts that some pattern, length or comparison is about.
TEXTS = (
    *("", "a", "A-1", "0", "!", "a b", "\n", "\x00", "ü", "\u2028", "🐍", "'; --", "%00", "../..", "x" * 257, "x" * 1025),
    *("s3://bucket/key", "https://host/a b", "python:3.11", "ml.m5.large", "/opt/ml/processing/a", "text/plain"),
    *("arn:aws:iam::123456789012:role/path/name", "123456789012", "2024-01-31T23:59:59", "TrialComponentName"),
    *("Metrics.loss.Last", "Tags.a", "Parents.TrialName", "MQ==", "bnVsbA==", "f/0", "b/1", "f/99999999999999999"),
    *("Ilx1ZDgwMCI=", "WyJcdWQ4MDAiLCAieCJd"),  # tokens with half a surrogate pair
    *NAMES, *ARNS, *PART_ARNS, GROUP, f"{NAMES[0]}/algo-1-1700000000", f"{NAMES[0]}-aws-processing-job",
)  # fmt: skip
NUMBERS = (0, 1, 2, 50, 100, 10_000, -1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30)
#: What a client may put in the place of any value.
JUNK = (
    *(None, True, False, [], {}, [None], {"a": None}, [[]], {"": {}}, 1.5, 1e308, -0.0, "\ud800", "x" * 70_000),
    *(["a"] * 101, [{}] * 3, {f"k{n}": "v" for n in range(101)}, {"Name": "a", "Filters": [{}]}),
    *TEXTS, *NUMBERS,
)  # fmt: skip
#: Errors that no operation's model has and any may answer with.
COMMON = {"ValidationException", "SerializationException"}
#: How a service says that a value can't be.
REFUSED = {"ValidationException", "ValidationError", "InvalidParameterException", "InvalidInput"}
#: Spoilt calls for each drawn one.
SPOILT = 8
_UNUSED = itertools.count()


def drawn(examples):
    """Settings for so many drawn calls of each operation."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


#: By the name of a member: what leads to something that is there.
_FITTING = {
    "ExperimentName": ("e", "E-new"),
    "Key": ("a", "b c", "ü"),
    "ProcessingJobName": NAMES,
    "ResourceArn": (*ARNS, *PART_ARNS),
    "ArtifactArn": PART_ARNS,
    "DestinationArn": PART_ARNS,
    "SourceArn": (*ARNS, *PART_ARNS),
    "StartArns": PART_ARNS,
    "TrialComponentName": (f"{NAMES[0]}-aws-processing-job", "other", "new"),
    "TrialName": ("t", "T-new"),
    "logGroupIdentifier": (GROUP, f"arn:aws:logs:eu-west-1:111122223333:log-group:{GROUP}"),
    "logGroupName": (GROUP,),
    "logStreamName": (f"{NAMES[0]}/algo-1-1700000000",),
    "logStreamNames": (f"{NAMES[0]}/algo-1-1700000000",),
}


def values(shape, name="", within=()):
    """A value that keeps the shape's constraints wherever that is easy; of itself it holds one more at most."""
    meta = shape.metadata
    low, high = meta.get("min", 0), meta.get("max")
    match shape.type_name:
        case "structure":
            deeper = (*within, shape.name)
            members = {
                n: values(m, n, deeper)
                for n, m in shape.members.items()
                if within.count(shape.name) == 0 or m.type_name == "string"
            }
            needed = {n: members.pop(n) for n in shape.required_members if n in members}
            return st.fixed_dictionaries(needed, optional=members)
        case "list":
            return st.lists(values(shape.member, name, within), min_size=low, max_size=max(low, 2))
        case "map":
            return st.dictionaries(
                values(shape.key), values(shape.value, "", within), min_size=low, max_size=max(low, 2)
            )
        case "boolean":
            return st.booleans()
        case "timestamp" | "double" | "float":
            return st.sampled_from([0, 1.5, 1_700_000_000, 1_700_000_000.123, -1, 4_000_000_000])
        case "integer" | "long":
            fits = [n for n in NUMBERS if meta.get("min", -(2**31)) <= n <= (high or 2**31 - 1)]
            return st.sampled_from(fits)
        case "string" if "enum" in meta:
            return st.sampled_from(meta["enum"])
        case "string":
            full = translate(meta["pattern"]).fullmatch if "pattern" in meta else lambda _: True
            fits = [
                text
                for text in _FITTING.get(name, (*TEXTS, "a" * low))
                if low <= len(text) <= (high or 9999) and full(text)
            ]
            return st.sampled_from(fits)
    raise AssertionError(f"no strategy for {shape.type_name}")


def places(value, path=()):
    """The paths of all values within a document."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


def spoilt(data, document):
    """`document` with junk in the place of one to three of its values, or beside them."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))))
        junk = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
        if not path:
            if data.draw(st.integers(0, 9)) == 0:
                return junk
            continue
        owner = document
        for step in path[:-1]:
            owner = owner[step]
        match data.draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove":
                del owner[path[-1]]
            case "add" if isinstance(owner, dict):
                owner[data.draw(st.sampled_from(TEXTS))] = junk
            case "add":
                owner.append(junk)
            case _:
                owner[path[-1]] = junk
    return document


def sound(data, request):
    """A drawn CreateProcessingJob, made to keep the rules that the model does not hold."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    for name in ("InstancePreferences", "SelectedInstanceType", "SelectedInstanceCount", "VolumeKmsKeyId"):
        cluster.pop(name, None)
    cluster["InstanceType"] = "ml.m5.large"
    drawn = data.draw(st.from_regex("[a-zA-Z0-9](-*[a-zA-Z0-9]){1,20}", fullmatch=True))
    request["ProcessingJobName"] = f"{drawn[:50]}-{next(_UNUSED)}"  # the same draw comes more than once
    request["AppSpecification"] = {
        **request["AppSpecification"],
        "ImageUri": "python:3.11",
        "ContainerEntrypoint": ["python3"],
    }
    for number, given in enumerate(request.get("ProcessingInputs") or []):
        given.pop("DatasetDefinition", None)
        given["InputName"] += str(number)
        given["S3Input"] = {
            **given.get("S3Input", {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix"}),
            "LocalPath": f"/opt/ml/processing/in/{number}",
            "S3InputMode": "File",
            "S3CompressionType": "None",
        }
    for number, given in enumerate((request.get("ProcessingOutputConfig") or {}).get("Outputs") or []):
        given.pop("FeatureStoreOutput", None)
        given["OutputName"] += str(number)
        given["S3Output"] = {
            **given.get("S3Output", {"S3Uri": "s3://b/k", "S3UploadMode": "EndOfJob"}),
            "LocalPath": f"/opt/ml/processing/out/{number}",
        }
    if config := request.get("ExperimentConfig"):  # of the parts that there are, those that belong together
        config |= {
            name: there for name, there in (("ExperimentName", "E"), ("TrialName", "t")) if name in config
        }
    if "Tags" in request:
        request["Tags"] = list({tag["Key"]: tag for tag in request["Tags"]}.values())
    return without_nul(request)


def without_nul(value):
    """NUL passes the models and is refused all the same."""
    if isinstance(value, dict):
        return {without_nul(k): without_nul(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def send(client, service, operation, document):
    """Call an operation with whatever is given for its parameters."""
    shape = model.operation(service, operation)
    body = json.dumps(document).encode()
    if service in model.QUERY_SERVICES:
        fields = document if isinstance(document, dict) else {"x": json.dumps(document)}
        version = shape.service_model.metadata["apiVersion"]
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
        form = urlencode({**texts, "Action": operation, "Version": version}, errors="replace").encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return client.send(body=form, target="", service=service, headers=headers)
    signing_name = shape.service_model.signing_name
    prefixes = {owner: prefix for prefix, owner in model.TARGETS.items()}
    return client.send(
        shape.http["method"],
        shape.http["requestUri"],
        body,
        f"{prefixes[service]}.{operation}" if service in prefixes else "",
        service=signing_name,
    )


def judge(answer, service, operation):
    """Assert that an answer is one that the operation may give; returns its error's code, or None."""
    shape = model.operation(service, operation)
    response = {
        "status_code": answer.status,
        "headers": {k.decode(): v.decode() for k, v in answer.headers.items()},
        "body": answer.body,
    }
    parser = create_parser(shape.service_model.metadata["protocol"])
    parsed = parser.parse({**response, "headers": Headers(response["headers"])}, shape.output_shape)
    assert parsed["ResponseMetadata"]["RequestId"]
    if answer.status == 200:
        return None
    assert 400 <= answer.status < 500, answer
    error = parsed["Error"]
    allowed = {e.name for e in shape.error_shapes} | COMMON
    allowed |= {e.error_code for e in shape.error_shapes} | {"ValidationError"}
    assert error["Code"] in allowed, answer
    assert 0 < len(error["Message"]) < 40_000
    return error["Code"]


class Headers(dict):
    """By name in any case, as botocore has them."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)

    def __contains__(self, name):
        return super().__contains__(name.lower())


def contains(whole, part, path=""):
    """Assert that all of `part` is in `whole`; of lists, all elements in their order."""
    if isinstance(part, dict):
        for key, item in part.items():
            assert key in whole, f"{path}.{key}"
            contains(whole[key], item, f"{path}.{key}")
    elif isinstance(part, list):
        assert len(whole) == len(part), path
        for number, item in enumerate(part):
            contains(whole[number], item, f"{path}.{number}")
    else:
        assert whole == part, path


def inputs():
    """Service, operation and input of all that is served."""
    for service, operation in sorted(OPERATIONS):
        yield service, operation, model.operation(service, operation).input_shape


PART = {"ExperimentConfig": {"ExperimentName": "e", "TrialName": "t"}}


def application(folder):
    """An application that has a queued job, a running one with a log, and an ended one."""
    made = WireClient(folder)
    for operation, given in (
        ("CreateExperiment", {"ExperimentName": "e"}),
        ("CreateTrial", {"TrialName": "t", "ExperimentName": "e"}),
        ("CreateTrialComponent", {"TrialComponentName": "other"}),
        ("CreateArtifact", {"Source": {"SourceUri": "s3://b/k"}, "ArtifactType": "t"}),
        *(("CreateProcessingJob", {**job(name), **PART}) for name in NAMES),
    ):
        assert made.call(operation, given).status == 200
    running, ended = (made.store.job(name) for name in NAMES[:2])
    host = Host(running.uid, running.name, "algo-1", "d", f"{running.name}/algo-1-1700000000")
    made.store.add_hosts(advance(running, Started(), 1), [host])
    made.context.logbook.append(running.uid, "algo-1", 0, b"10 a\n20 b\n")
    ended = advance(ended, Started(), 1)
    made.store.save_job(ended)
    made.store.save_job(advance(ended, Succeeded(), 2))
    return made


def job(name):
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3"]},
        "RoleArn": "arn:aws:iam::111122223333:role/r",
    }


def any_call(client, data, service, operation, shape):
    """One call drawn from the model, and some that are spoilt."""
    document = data.draw(values(shape)) if shape is not None else {}
    if service == "logs" and "logGroupName" in shape.members:
        document["logGroupName"] = GROUP
    judge(send(client, service, operation, document), service, operation)
    for _ in range(SPOILT):
        judge(send(client, service, operation, spoilt(data, document)), service, operation)


def nul_in_a_text(client, data, service, operation, shape):
    """One call drawn from the model, with a NUL character in one of its texts, whichever."""
    document = data.draw(values(shape)) if shape is not None else {}
    texts = [path for path in places(document) if isinstance(found(document, path), str)]
    if not texts:
        return
    *above, last = data.draw(st.sampled_from(texts))
    found(document, above)[last] += "\0"
    assert judge(send(client, service, operation, document), service, operation) in REFUSED


def found(value, path):
    """What is at one of the places of a document."""
    for step in path:
        value = value[step]
    return value


def round_trip(client, data):
    """What Create takes is what Describe tells, and ListTags."""
    shape = model.operation("sagemaker", "CreateProcessingJob").input_shape
    request = sound(data, data.draw(values(shape)))
    answer = client.call("CreateProcessingJob", request)
    assert answer.status == 200, answer
    told = client.call("DescribeProcessingJob", {"ProcessingJobName": request["ProcessingJobName"]}).json
    tags = request.pop("Tags", [])
    contains(told, json.loads(json.dumps(request)))
    assert told["ProcessingJobArn"] == answer.json["ProcessingJobArn"]
    listed = client.call("ListTags", {"ResourceArn": told["ProcessingJobArn"]}).json["Tags"]
    assert listed == sorted(tags, key=lambda tag: tag["Key"])
