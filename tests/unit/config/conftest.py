import pytest

from penstock.config import Settings


@pytest.fixture
def settings(tmp_path):
    def read(text, mode=0o600, **environ):
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(mode)
        return Settings.read({"PENSTOCK_HOME": str(tmp_path), **environ})

    return read
