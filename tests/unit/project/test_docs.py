"""The documents say what the code does: settings, operations, commands."""

import re
import subprocess
from pathlib import Path

import pytest

from penstock.api.operations import OPERATIONS
from penstock.cli.main import app
from penstock.config import SETTINGS, Settings
from penstock.errors import ConfigurationError
from penstock.job.life import Phase
from penstock.wire import model

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def test_every_setting_is_in_the_readme_as_the_code_has_it():
    rows = dict(re.findall(r"^\| `(PENSTOCK_\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert rows == dict(SETTINGS)


def test_every_setting_is_read_and_no_other():
    asked = set()

    class Environ(dict):
        def get(self, name, default=None):
            asked.add(name)
            return default

    Settings.read(Environ())
    assert asked - {"HOME"} == set(SETTINGS)


@pytest.mark.parametrize(
    "name",
    [
        "PENSTOCK_PORT",
        "PENSTOCK_SLOTS",
        "PENSTOCK_WALLS",
        "PENSTOCK_STRICT_VERSIONS",
        "PENSTOCK_CPUS",
        "PENSTOCK_MEMORY",
        "PENSTOCK_GPUS",
        "PENSTOCK_STRICT_RESOURCES",
    ],
)
def test_a_value_that_can_not_be_used_is_named(name):
    with pytest.raises(ConfigurationError, match=name):
        Settings.read({"HOME": "/h", name: "nonsense"})


def test_every_operation_is_in_the_readme():
    table = README[README.index("## What is supported today") :]
    for _, operation in OPERATIONS:
        kind = re.sub(
            r"^(Create|Describe|List|Stop|Update|Delete)(ProcessingJob|Experiment|Trial|TrialComponent|Artifact)s?$",
            r"\1-",
            operation,
        )
        assert operation in table or kind in table, operation


def test_the_server_serves_exactly_the_operations_of_its_models():
    served = {
        (service, name) for service in model.SERVICES for name in model.service(service).operation_names
    }
    assert served == set(OPERATIONS)


def test_every_command_is_in_the_readme():
    names = [c.name or c.callback.__name__ for c in app.registered_commands]
    for name in names:
        assert re.search(rf"\b{name}\b", README), name


def test_every_link_between_documents_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        text = re.sub(r"`[^`\n]*`", "", page.read_text())  # code has no links
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_phase_is_described():
    text = (ROOT / "src/penstock/job/life.py").read_text()
    for phase in Phase:
        assert f'{phase.name} = "{phase.value}"' in text


def test_the_lock_names_exact_versions_with_hashes_and_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE)
    assert len(packages) > 40
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "://" not in lock
    assert "--index" not in lock


def test_the_project_names_no_machine():
    """No path of the machine it was written on, and no host of a package index."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    words = re.compile("/" + "work/|pypi" + r"\.org|files\." + "pythonhosted")
    found = [
        name
        for name in tracked
        if (ROOT / name).is_file()
        and words.search((ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []
