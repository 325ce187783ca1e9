"""What a search asks of SQLite, and what it leaves to be judged."""

import pytest
from search_suite import SearchSuite

from penstock.api.search_known import known
from penstock.api.search_narrow import narrow, order
from penstock.job.experiments import Component
from penstock.store.conditions import Condition, Some, Value


class TestOnSqlite(SearchSuite):
    pass


def test_what_analytics_asks_needs_no_record_to_be_judged():
    asked = {
        "Filters": [
            {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "E"},
            {"Name": "Metrics.loss.Last", "Operator": "LessThan", "Value": "0.5"},
            {"Name": "Parameters.rate", "Operator": "GreaterThan", "Value": "0.1"},
            {"Name": "Parameters.optimizer", "Value": "adam"},
        ],
        "SubExpressions": [
            {"Filters": [{"Name": "TrialComponentName", "Operator": "Contains", "Value": "x"}]}
        ],
    }
    conditions, rest = narrow(Component, asked)
    assert (len(conditions), rest) == (5, None)
    assert order(Component, "metrics.loss.max") == Value("maximum", "metric", "loss")
    either, rest = narrow(Component, {**asked, "Operator": "Or"})
    assert ([len(one.of) for one in either], rest) == ([5], None)


def test_of_what_is_not_known_nothing_is_implied_by_either():
    principal = {"Name": "CreatedBy.IamIdentity.PrincipalId", "Value": "r"}
    name = {"Name": "TrialComponentName", "Value": "C"}
    only = Condition(Value("key"), "=", "c")
    assert narrow(Component, {"Filters": [principal, name]}) == ([only], {"Filters": [principal]})
    either = {"Filters": [principal, name], "Operator": "Or"}
    assert narrow(Component, either) == ([], either)
    within = {"SubExpressions": [{"Filters": [principal, name]}], "Filters": [name], "Operator": "Or"}
    assert narrow(Component, within) == ([Some([only, only])], within)
    beside = {"SubExpressions": [{"Filters": [principal, name]}], "Filters": [name]}
    assert narrow(Component, beside) == ([only, only], {"SubExpressions": [{"Filters": [principal]}]})


@pytest.mark.parametrize(("wanted", "whole"), [("adam", True), ("1e-", False), ("inf", False), ("v1", True)])
def test_a_part_of_a_number_as_it_is_written_only_records_tell(wanted, whole):
    asked = {"Filters": [{"Name": "Parameters.p", "Operator": "Contains", "Value": wanted}]}
    tests, rest = narrow(Component, asked)
    assert (len(tests), rest is None) == (1, whole)
    assert known(Component, "Parameters.p").type == "either"
