"""The trimmed models: fresh, complete, and good for botocore's own loader."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from penstock.wire import model
from penstock.wire.patterns import translate

ROOT = Path(__file__).resolve().parents[3]


def trimmer():
    spec = importlib.util.spec_from_file_location("trim_models", ROOT / "tools" / "trim_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_shape():
    for name in sorted(model.SERVICES):
        service = model.service(name)
        for shape_name in service.shape_names:
            yield name, service.shape_for(shape_name)


def test_generated_files_are_fresh(tmp_path):
    """Loads botocore's whole models (0.5 s): nothing cheaper shows that the package holds what the tool writes."""
    recorded = model.service("sagemaker").metadata["trimmedFrom"]
    if recorded != f"botocore {botocore.__version__}":
        pytest.skip(f"the models are of {recorded}, installed is {botocore.__version__}")
    trimmer().main(tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.json")}
    kept = {p.relative_to(model.MODELS): p.read_bytes() for p in model.MODELS.rglob("*.json")}
    assert made == kept


def test_all_operations_of_the_table_are_served():
    table = trimmer().OPERATIONS
    assert set(table) == model.SERVICES
    for service, names in table.items():
        assert set(model.service(service).operation_names) == set(names)


def test_no_documentation_is_shipped():
    for path in model.MODELS.rglob("service-2.json"):
        assert '"documentation"' not in path.read_text()


def test_the_tables_agree_with_the_models():
    for target, name in model.TARGETS.items():
        assert model.service(name).metadata["targetPrefix"] == target
        assert model.service(name).metadata["jsonVersion"] == "1.1"
    for name in model.QUERY_SERVICES:
        assert model.service(name).metadata["protocol"] == "query"
    for name in model.REST_SERVICES:
        assert model.service(name).metadata["protocol"] == "rest-json"
    for name in model.SERVICES:
        assert model.service(name).signing_name == ("sagemaker" if name in model.REST_SERVICES else name)


def test_method_and_path_name_an_operation_where_the_protocol_says_so():
    assert model.routes() == {
        ("PUT", "/BatchPutMetrics"): ("sagemaker-metrics", "BatchPutMetrics"),
        ("POST", "/BatchGetMetrics"): ("sagemaker-metrics", "BatchGetMetrics"),
    }


@pytest.mark.parametrize(
    ("service", "operation"),
    [("sagemaker", "CreateTrainingJob"), ("s3", "GetObject"), ("..", "x"), ("*", "x"), ("", "")],
)
def test_what_is_not_served_has_no_model(service, operation):
    with pytest.raises(KeyError):
        model.operation(service, operation)


def test_nothing_is_used_that_parsing_and_rendering_leave_out():
    """Renamed members in JSON, lists and numbers in query requests, maps in XML: not in these models."""
    for service, shape in every_shape():
        for member in getattr(shape, "members", {}).values():
            assert service in model.QUERY_SERVICES or "name" not in member.serialization
            assert "location" not in member.serialization
            assert "timestampFormat" not in member.serialization
        assert not (service in model.QUERY_SERVICES and shape.type_name in {"map", "blob"})
        assert "flattened" not in shape.serialization
    for service in model.QUERY_SERVICES:
        for name in model.service(service).operation_names:
            given = model.operation(service, name).input_shape
            assert given is None or all(m.type_name == "string" for m in given.members.values())


def test_every_pattern_translates():
    patterns = {shape.metadata["pattern"] for _, shape in every_shape() if "pattern" in shape.metadata}
    assert len(patterns) > 30
    for pattern in patterns:
        translate(pattern)


def test_botocore_makes_clients_from_the_folder():
    session = botocore.session.Session()
    loader = Loader(extra_search_paths=[str(model.MODELS)])
    session.register_component("data_loader", loader)
    made = {
        name: session.create_client(
            name,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"max_attempts": 0}),
        )
        for name in model.SERVICES
    }
    assert {name: set(client.meta.service_model.operation_names) for name, client in made.items()} == {
        name: set(model.service(name).operation_names) for name in model.SERVICES
    }
    assert made["sagemaker"].waiter_names == ["processing_job_completed_or_stopped"]
    assert made["sagemaker"].get_waiter("processing_job_completed_or_stopped").config.max_attempts == 60
    assert made["sagemaker"].can_paginate("list_processing_jobs")
    assert not made["sagemaker"].can_paginate("describe_processing_job")
    assert made["logs"].get_paginator("filter_log_events").result_keys
    assert made["iam"].waiter_names == ["role_exists"]


def test_importing_the_package_imports_no_botocore():
    code = (
        "import sys, json, penstock.wire.parse, penstock.wire.validate, penstock.wire.reply, "
        "penstock.wire.signature; print(json.dumps([m for m in sys.modules if m.startswith(('botocore', 'urllib3'))]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
