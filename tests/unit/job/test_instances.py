import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.job import instances
from penstock.job.instances import Instance, instance
from penstock.wire import model

GIB = 1 << 30


def test_every_type_of_the_service_has_one_row_and_no_other_does():
    rows = instances.known()
    assert len(rows) == len(set(rows))
    assert set(rows) == set(model.service("sagemaker").shape_for("ProcessingInstanceType").enum)


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("ml.t3.medium", Instance(2, 4 * GIB, 0)),
        ("ml.m5.large", Instance(2, 8 * GIB, 0)),
        ("ml.m5.24xlarge", Instance(96, 384 * GIB, 0)),
        ("ml.c4.xlarge", Instance(4, 15 * GIB // 2, 0)),
        ("ml.c4.8xlarge", Instance(36, 60 * GIB, 0)),
        ("ml.r5.large", Instance(2, 16 * GIB, 0)),
        ("ml.m8i.96xlarge", Instance(384, 1536 * GIB, 0)),
        ("ml.g4dn.12xlarge", Instance(48, 192 * GIB, 4)),
        ("ml.g5.16xlarge", Instance(64, 256 * GIB, 1)),
        ("ml.g7e.12xlarge", Instance(48, 512 * GIB, 2)),
        ("ml.p5.4xlarge", Instance(16, 256 * GIB, 1)),
        ("ml.p3.8xlarge", Instance(32, 244 * GIB, 4, verified=False)),
        ("local", Instance(None, None, 0)),
        ("local_gpu", Instance(None, None, None)),
    ],
)
def test_what_types_have(kind, has):
    assert instance(kind) == has


def test_a_type_that_is_not_known():
    assert instance("ml.z9.large") is None
    assert instance("") is None
    assert instance("#") is None


def test_a_type_has_cards_exactly_when_its_family_is_one_of_cards():
    for kind in instances.known():
        assert (instance(kind).gpus > 0) is (re.match(r"ml\.[gp]\d", kind) is not None), kind


def test_within_a_family_more_processors_come_with_as_much_memory_or_more():
    families = {}
    for kind in instances.known():
        families.setdefault(kind.split(".")[1], []).append(instance(kind))
    for name, sizes in families.items():
        ordered = sorted(sizes, key=lambda one: (one.cpus, one.memory_bytes))
        assert ordered == sorted(sizes, key=lambda one: (one.memory_bytes, one.cpus)), name


def test_only_what_has_no_source_is_called_unverified():
    unverified = {kind.split(".")[1] for kind in instances.known() if not instance(kind).verified}
    assert unverified == {"p2", "p3"}


def test_it_loads_nothing_else_of_ours_and_no_parser():
    code = "import sys, penstock.job.instances; print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(said.split())
    assert {name for name in loaded if name.startswith("penstock.")} == {
        "penstock._version",
        "penstock.job",
        "penstock.job.instances",
    }
    assert not loaded & {"json", "tomllib"}
    assert Path(instances.__file__).with_name("instance_types.txt").is_file()
