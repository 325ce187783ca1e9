"""Containers by a real Podman: the conformance suite, and what is the containers' own."""

import pytest
from podman import lacking, podman

from penstock.runtimes.containers.runtime import Container
from penstock.testing.walls import WallsSuite

pytestmark = [pytest.mark.machine, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]


@pytest.fixture(scope="module")
def engine():
    with podman() as one:
        yield one


@pytest.fixture
def runtime(engine, tmp_path_factory):
    return Container(engine.engine, engine.image(), tmp_path_factory.mktemp("run"))


class TestContainer(WallsSuite):
    added_variables = frozenset({"HOME", "HOSTNAME", "LC_ALL", "PATH", "PWD", "TERM", "container"})
    not_text = ""

    @pytest.fixture
    def runtime(self, runtime):
        return runtime
