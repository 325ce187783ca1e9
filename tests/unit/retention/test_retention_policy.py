"""The rules, for whatever there is: what goes, and above all what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import SETTINGS, Settings
from penstock.errors import ConfigurationError
from penstock.retention.policy import DAY_MS, Item, Policy, Rule, bytes_of, choose, frees

NOW = 1000
#: Few files, so that items share many of them; a file has one size.
FILES = st.sets(st.integers(0, 9), max_size=5).map(lambda names: {name: 10 * name + 1 for name in names})
ITEMS = st.lists(
    st.builds(Item, name=st.just(""), used_at=st.integers(0, NOW), in_use=st.booleans(), files=FILES),
    max_size=12,
).map(lambda items: [Item(str(n), one.used_at, one.in_use, one.files) for n, one in enumerate(items)])
RULES = st.builds(Rule, st.none() | st.integers(0, NOW + 5), st.none() | st.integers(0, 300))


@given(ITEMS, RULES)
def test_what_is_in_use_never_goes(items, rule):
    assert not [one for one in choose(items, rule, NOW) if one.in_use]


@given(ITEMS, RULES)
def test_what_is_too_old_goes_and_else_no_more_than_is_too_much(items, rule):
    going = choose(items, rule, NOW)
    names = {one.name for one in going}
    staying = [one for one in items if one.name not in names]
    before = rule.before(NOW)
    assert not [one for one in staying if not one.in_use and before is not None and one.used_at < before]
    if rule.most is None:
        assert all(before is not None and one.used_at < before for one in going)
    else:
        assert bytes_of(staying) <= rule.most or all(one.in_use for one in staying)
    # Without the last that went for its size alone there would still be too much.
    young = [one for one in going if before is None or one.used_at >= before]
    if young:
        assert bytes_of([*staying, young[-1]]) > rule.most


@given(ITEMS, RULES)
def test_the_oldest_goes_first_and_what_it_frees_is_what_nothing_else_holds(items, rule):
    going = choose(items, rule, NOW)
    assert [one.used_at for one in going] == sorted(one.used_at for one in going)
    left = {file for one in items if one not in going for file in one.files}
    gone = {file: size for one in going for file, size in one.files.items() if file not in left}
    assert frees(going, items) == sum(gone.values())


def test_for_ever_and_however_much_keeps_all():
    items = [Item("a", 0, False, {"f": 1 << 50})]
    assert choose(items, Rule(None), NOW) == []
    assert choose(items, Rule(0), NOW) == items


def test_the_settings_say_how_long(tmp_path):
    policy = Policy.of(Settings.read({"PENSTOCK_HOME": str(tmp_path)}))
    assert (policy.jobs, policy.logs) == (Rule(None), Rule(90 * DAY_MS))
    assert (policy.inputs, policy.environments) == (Rule(30 * DAY_MS, 20 << 30), Rule(90 * DAY_MS))
    assert 0 < policy.floor <= 1 << 30
    said = {
        "PENSTOCK_HOME": str(tmp_path),
        "PENSTOCK_KEEP_JOBS": "365d",
        "PENSTOCK_KEEP_LOGS": "ever",
        "PENSTOCK_KEEP_INPUTS": "12h",
        "PENSTOCK_KEEP_ENVIRONMENTS": "0s",
        "PENSTOCK_LOGS_BYTES": "5G",
        "PENSTOCK_ENVIRONMENTS_BYTES": "50G",
        "PENSTOCK_DISK_FLOOR": "0",
    }
    assert said.keys() <= SETTINGS.keys()
    policy = Policy.of(Settings.read(said))
    assert (policy.jobs, policy.logs) == (Rule(365 * DAY_MS), Rule(None, 5 << 30))
    assert (policy.inputs, policy.environments) == (Rule(DAY_MS // 2, 20 << 30), Rule(0, 50 << 30))
    assert policy.floor == 0


@pytest.mark.parametrize("text", ["never", "90", "-1d", "1.5d", "d"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(ConfigurationError, match=r"PENSTOCK_KEEP_LOGS: .*Write it as 30d.*`ever`"):
        Settings.read({"PENSTOCK_KEEP_LOGS": text})
