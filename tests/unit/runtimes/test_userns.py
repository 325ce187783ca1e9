import pytest

from penstock.errors import InternalFailure
from penstock.runtimes import userns


def _switch(folder, setting, value):
    path = folder / setting.replace(".", "/")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("setting", "value", "for_user", "for_root"),
    [
        ("user.max_user_namespaces", "0", True, True),
        ("user.max_user_namespaces", "96365", False, False),
        ("kernel.unprivileged_userns_clone", "0", True, False),
        ("kernel.unprivileged_userns_clone", "1", False, False),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", True, False),
        ("kernel.apparmor_restrict_unprivileged_userns", "0", False, False),
    ],
)
def test_whom_a_switch_hinders(tmp_path, setting, value, for_user, for_root):
    _switch(tmp_path, setting, value)
    assert (userns.obstacle(tmp_path, root=False) is not None) == for_user
    assert (userns.obstacle(tmp_path, root=True) is not None) == for_root


def test_a_kernel_without_the_switches_hinders_nobody(tmp_path):
    assert userns.obstacle(tmp_path, root=False) is None


def test_the_fix_turns_the_switch_that_was_found(tmp_path):
    _switch(tmp_path, "user.max_user_namespaces", "100")
    _switch(tmp_path, "kernel.apparmor_restrict_unprivileged_userns", "1")
    assert "kernel.apparmor_restrict_unprivileged_userns=0 " in userns.obstacle(tmp_path, root=False).fix


def test_root_does_without_and_a_user_is_told_what_to_do(monkeypatch):
    found = userns.Obstacle("user.max_user_namespaces", "0", "turn it on")
    monkeypatch.setattr(userns, "obstacle", lambda: found)
    monkeypatch.setattr(userns.os, "geteuid", lambda: 0)
    assert userns.wanted() is False
    monkeypatch.setattr(userns.os, "geteuid", lambda: 1000)
    with pytest.raises(InternalFailure, match=r"user\.max_user_namespaces=0.*turn it on"):
        userns.wanted()
