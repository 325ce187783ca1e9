"""What a server knows of its engines before it has them."""

import pytest

from penstock.config import Settings
from penstock.engines.choose import has_far_runs


@pytest.mark.parametrize(
    ("engines", "runs", "far"),
    [
        ("local", [], False),
        ("local", ["runs/j/algo-1"], False),
        ("local", ["cluster/j/seats"], False),
        ("local", ["cluster/j/algo-1.2"], True),
        ("ray", [], True),
        ("local,ray", [], True),
    ],
)
def test_runs_on_a_cluster_that_the_settings_name_no_more_are_still_far(tmp_path, engines, runs, far):
    """Nobody else on this machine can see whether their runners live, and those must find the server again."""
    for path in runs:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert has_far_runs(Settings.read({"PENSTOCK_HOME": str(tmp_path), "PENSTOCK_ENGINE": engines})) is far
