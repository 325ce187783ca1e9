"""What an import costs, and `import sagemaker` on Penstock: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "boto3", "botocore", "starlette", "sqlalchemy", "uvicorn", "obstore", "rich", "typer", "httptools", "alembic",
)  # fmt: skip


def python(code: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module",
    ["penstock", "penstock.processing", "penstock.sklearn.processing", "penstock.pytorch", "penstock.local"],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = set(python(f"import sys, {module}; print(*sys.modules)").split())
    assert module in loaded
    assert {name for name in loaded if name.partition(".")[0] in HEAVY} == set()
    server = {
        "api",
        "store",
        "dispatch",
        "engines",
        "runner",
        "runtimes",
        "server",
        "objectstore",
        "wire",
        "data",
    }
    assert {name for name in loaded if name.startswith("penstock.") and name.split(".")[1] in server} == set()


def test_making_a_processor_of_a_given_image_loads_nothing_heavy() -> None:
    code = """
import sys
from penstock.processing import ScriptProcessor
ScriptProcessor(image_uri="i", command=["python3"], instance_count=1, instance_type="local")
print(*sys.modules)
"""
    assert "boto3" not in python(code).split()


def test_sagemaker_s_modules_are_penstock_s() -> None:
    python("""
from penstock.client import alias
alias.install()
alias.install()
import sys
assert sum(type(each).__module__ == "penstock.client.alias" for each in sys.meta_path) == 1
import importlib
for name in sorted(alias.MODULES):
    tail = f".{name}" if name else ""
    ours, theirs = importlib.import_module("penstock" + tail), importlib.import_module("sagemaker" + tail)
    assert ours is theirs, name
    assert ours.__spec__.name == ours.__name__ == "penstock" + tail, name
import sagemaker, penstock.processing
from sagemaker.processing import FrameworkProcessor
assert FrameworkProcessor is penstock.processing.FrameworkProcessor
assert sagemaker.get_execution_role is penstock.session.get_execution_role
assert sagemaker.image_uris.retrieve is penstock.image_uris.retrieve
""")


@pytest.mark.parametrize(
    "module", ["sagemaker.tuner", "sagemaker.api", "sagemaker.config", "sagemaker.sklearn.model"]
)
def test_what_penstock_lacks_is_said_to_be_lacking(module: str) -> None:
    out = python(f"""
from penstock.client import alias
alias.install()
try:
    import {module}
except ModuleNotFoundError as error:
    print(error.name, error)
""")
    assert out.startswith(f"{module} No module named '{module}': Penstock covers SageMaker Processing")
    assert "sagemaker.processing" in out


RUN = """
import sys
from penstock.client import alias, local_server
address = local_server.Address("http://127.0.0.1:9", "http://127.0.0.1:8", "r", "r", "0" * 12, "b", "key", "secret")
alias.run_script(sys.argv[1], sys.argv[2:], address)
"""


def test_a_script_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("from sagemaker.network import NetworkConfig\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom helper import NetworkConfig\nprint(__name__, sys.argv, NetworkConfig.__module__)\n"
    )
    out = python(RUN, str(script), "--a", "b c")
    assert out == f"__main__ ['{script}', '--a', 'b c'] penstock.network\n"


def test_the_script_s_own_boto3_reaches_the_server_too(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import boto3\n"
        "client = boto3.client('sagemaker')\n"
        "print(client.meta.endpoint_url, client.meta.region_name, boto3.Session().get_credentials().access_key)\n"
    )
    assert python(RUN, str(script)) == "http://127.0.0.1:9 r key\n"


def test_an_error_of_the_script_is_shown_as_python_shows_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def deep():\n    raise ValueError('no way')\n\ndeep()\n")
    mine = subprocess.run(
        [sys.executable, "-c", RUN, str(script)], capture_output=True, text=True, check=False
    )
    plain = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (mine.returncode, mine.stderr) == (plain.returncode, plain.stderr)
    assert "no way" in plain.stderr


def test_the_script_s_own_exit_code_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys; sys.exit(7)\n")
    done = subprocess.run([sys.executable, "-c", RUN, str(script)], check=False)
    assert done.returncode == 7


def test_the_official_package_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker/__init__.py").write_text("kind = 'official'\n")
    script = tmp_path / "script.py"
    script.write_text("import os, sagemaker\nprint(sagemaker.kind, os.environ['AWS_ENDPOINT_URL'])\n")
    out = python(f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from penstock.client import alias, local_server
address = local_server.Address("http://127.0.0.1:9", "http://127.0.0.1:8", "r", "r", "0" * 12, "b", "key", "secret")
alias.run_script({str(script)!r}, [], address)
""")
    assert out == "official http://127.0.0.1:9\n"


def test_a_script_that_does_not_exist_is_named() -> None:
    out = python("""
from penstock.client import alias
from penstock.errors import ConfigurationError
try:
    alias.run_script("nowhere.py", [])
except ConfigurationError as error:
    print(error)
""")
    assert out == "The script nowhere.py does not exist, or is no file.\n"
