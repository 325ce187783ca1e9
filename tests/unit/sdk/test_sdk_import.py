"""What an import costs, and `import sagemaker` on Penstock: each in a process of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.client import absent, alias

HEAVY = (
    "boto3", "botocore", "starlette", "sqlalchemy", "uvicorn", "obstore", "rich", "typer", "httptools", "alembic",
    "IPython", "pandas", "sklearn", "html",
)  # fmt: skip


def python(code: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "penstock",
        "penstock.processing",
        "penstock.sklearn.processing",
        "penstock.pytorch",
        "penstock.local",
        "penstock.experiments",
        "penstock.analytics",
    ],
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
    "module", ["sagemaker.nothing", "sagemaker.api", "sagemaker.config", "sagemaker.sklearn.nothing"]
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


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import sagemaker.tuner", "No module named 'sagemaker.tuner': it belongs to training jobs"),
        ("from sagemaker.inputs import TrainingInput", "'sagemaker.inputs': it describes an input of training jobs"),
        ("from sagemaker.workflow.steps import ProcessingStep", "'sagemaker.workflow': it belongs to pipelines"),
        ("import sagemaker.spark.processing", "'sagemaker.spark': it runs images with Spark"),
        ("from sagemaker.core.processing import Processor", "'sagemaker.core': it is of SageMaker's SDK v3"),
        ("import sagemaker.sklearn.model", "'sagemaker.sklearn.model': it belongs to endpoints"),
        ("from sagemaker.estimator import Estimator", "no Estimator in penstock.estimator: it belongs to training jobs"),
        ("from sagemaker import TrainingInput", "no TrainingInput in penstock: it describes an input of training"),
        ("from sagemaker.pytorch import PyTorchModel", "no PyTorchModel in penstock.pytorch: it belongs to endpoints"),
        ("from sagemaker.local import LocalSagemakerClient", "LocalSession().sagemaker_client is a boto3 client"),
        ("from penstock.local.local_session import file_input", "That of a processing job is sagemaker.processing"),
    ],
)  # fmt: skip
def test_what_is_known_of_what_is_lacking_is_told_with_what_to_do(statement: str, words: str) -> None:
    out = python(f"""
from penstock.client import alias
alias.install()
try:
    {statement}
except ImportError as error:
    print(error)
""")
    assert words in out
    assert "Penstock is SageMaker Processing alone" in out
    assert "pip install 'sagemaker<3'" in out


def test_what_is_said_to_be_lacking_is_lacking() -> None:
    """Neither a module nor a name is both there and said not to be."""
    assert {name for name in alias.MODULES if absent.module(name)} == set()
    for name in alias.MODULES:
        module = importlib.import_module(f"penstock.{name}" if name else "penstock")
        assert set(vars(module)) & set(absent.NAMES) == set(), name


AS_SAGEMAKER = """
import os, sys
from penstock.client import local_server
local_server.ensure = lambda: local_server.Address(
    "http://127.0.0.1:9", "http://127.0.0.1:8", "r", "r", "0" * 12, "b", "key", "secret"
)
import penstock
"""


def test_one_line_makes_a_notebook_s_sagemaker_penstock(tmp_path: Path) -> None:
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker/__init__.py").write_text("kind = 'official'\n")
    out = python(f"""{AS_SAGEMAKER}
sys.path.insert(0, {str(tmp_path)!r})
import boto3
boto3.client("sts", "us-east-1", aws_access_key_id="k", aws_secret_access_key="s")  # makes boto3's own session
penstock.as_sagemaker()
import sagemaker
penstock.as_sagemaker()
print(sagemaker is penstock, boto3.client("sagemaker").meta.endpoint_url, boto3.DEFAULT_SESSION.get_credentials().access_key)
""")
    assert out == "True http://127.0.0.1:9 key\n"


def test_a_notebook_that_has_imported_sagemaker_s_own_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker/__init__.py").write_text("kind = 'official'\n")
    out = python(f"""{AS_SAGEMAKER}
sys.path.insert(0, {str(tmp_path)!r})
import sagemaker
try:
    penstock.as_sagemaker()
except penstock.errors.ConfigurationError as error:
    print(error, "AWS_ENDPOINT_URL" in os.environ)
""")
    assert out.startswith("SageMaker's own SDK has been imported already. Restart the kernel")
    assert out.endswith("False\n")


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


def test_our_own_sdk_may_be_asked_for_where_the_official_one_is(tmp_path: Path) -> None:
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker/__init__.py").write_text("kind = 'official'\n")
    script = tmp_path / "script.py"
    script.write_text("import sagemaker\nprint(sagemaker.__name__)\n")
    out = python(f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from penstock.client import alias, local_server
address = local_server.Address("http://127.0.0.1:9", "http://127.0.0.1:8", "r", "r", "0" * 12, "b", "key", "secret")
alias.run_script({str(script)!r}, [], address, own_sdk=True)
""")
    assert out == "penstock\n"


MODULE = RUN.replace("run_script", "run_module")


def test_a_module_and_a_package_run_as_python_would_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "work" / "inner"
    inner.mkdir(parents=True)
    told = (
        "import sys\nfrom sagemaker.network import NetworkConfig\n"
        "print(__name__, __spec__.name, sys.argv, sys.modules['__main__'].__file__ == __file__)\n"
    )
    (tmp_path / "work/__init__.py").write_text("from sagemaker.session import Session\n")
    (inner / "__main__.py").write_text(told)
    (tmp_path / "work/one.py").write_text(told)
    monkeypatch.chdir(tmp_path)
    for name, origin in (("work.one", "work/one.py"), ("work.inner", "work/inner/__main__.py")):
        out = python(MODULE, name, "--a", "b c")
        run = name if name == "work.one" else f"{name}.__main__"
        assert out == f"__main__ {run} {[str(tmp_path / origin), '--a', 'b c']} True\n"


@pytest.mark.parametrize("name", ["nowhere", "nowhere.inner", "empty"])
def test_a_module_that_does_not_exist_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", MODULE, name], capture_output=True, text=True, check=False)
    assert f"ConfigurationError: There is no module {name} to run" in done.stderr


def test_an_error_of_a_module_is_shown_from_its_own_first_line_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text("raise ValueError('no way')\n")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", MODULE, "one"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count('File "') == 1
    assert done.stderr.splitlines()[-1] == "ValueError: no way"


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
