from penstock.engines.local import LocalEngine


def test_a_sweep_removes_folders_of_jobs_that_have_no_run_in_them(tmp_path):
    for name in ("empty", "dead/algo-1", "kept/algo-1"):
        (tmp_path / name).mkdir(parents=True)
    LocalEngine(tmp_path).sweep({"kept/algo-1"})
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["kept", "kept/algo-1"]
    LocalEngine(tmp_path / "nowhere").sweep(set())
