"""The command `experiments`, on the server's own code: what it lists, what of it a terminal has room for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from types import SimpleNamespace

import pytest
from jobs_on_record import create, request
from rich.console import Console
from wire_client import WireClient
from wired_boto import WiredBoto

from penstock.cli import experiments, main, session, show
from penstock.experiments import Experiment, Run, Tracker
from penstock.session import Session

pytestmark = pytest.mark.usefixtures("wired_session")

#: What the command line prints: on stdout, on stderr, and its exit code.
Penstock = Callable[..., tuple[list[str], str, int]]


@pytest.fixture
def penstock(
    wired: WiredBoto, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Penstock:
    wired_home = SimpleNamespace(quick_client=wired.client("sagemaker"))
    monkeypatch.setattr(session, "HomeSession", lambda: wired_home)

    def call(*args: str) -> tuple[list[str], str, int]:
        monkeypatch.setattr(sys, "argv", ["penstock", "experiments", *args])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return said.out.splitlines(), said.err, int(ended.value.code or 0)

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], StringIO]:
    """Makes stdout a terminal of so many columns, and returns what people see on it."""

    def of(width: int) -> StringIO:
        seen = StringIO()
        monkeypatch.setattr(seen, "isatty", lambda: True)
        console = Console(file=seen, width=width, color_system=None, highlight=False, soft_wrap=True)
        monkeypatch.setattr(show, "out", console)
        return seen

    return of


@pytest.fixture
def prices(wire: WireClient, wired_session: Session) -> None:
    """An experiment with three runs, a job in one of its trials, a job in a trial of its own, and a step."""
    for depth in (3, 4, 5):
        with Run("prices", f"depth-{depth}") as run:
            run.log_parameters({"depth": depth, "seed": 7, "about": f"{depth} " + "words " * 20})
            run.log_metric("mse", 10 / depth)
            run.log_metric("loss", depth / 10)
    trial = Experiment.load("prices").create_trial("prices-weekly")
    job = "sagemaker-scikit-learn-2026-07-05-12-30-15-123"
    create(wire.context, request(job, ExperimentConfig={"TrialName": "prices-weekly"}))
    create(wire.context, request("alone", ExperimentConfig={"ExperimentName": "prices"}))
    with Tracker.create(display_name="features") as told:
        told.log_metric("rows", 400)
        trial.add_trial_component(told)


def words(line: str) -> list[str]:
    return line.split()


@pytest.mark.usefixtures("prices")
def test_experiments_are_told_with_what_is_in_them_and_when_they_changed(penstock: Penstock) -> None:
    Experiment.create("empty")
    (heads, newest, other), said, code = penstock()
    assert (words(heads), said, code) == (["NAME", "TRIALS", "RUNS", "CHANGED"], "", 0)
    assert words(newest)[:3] == ["empty", "0", "0"]
    assert words(other)[:3] == ["prices", "3", "6"]
    out, _, _ = penstock("--json", "--ascending")
    first, _ = json.loads("\n".join(out))
    assert (first["ExperimentName"], first["TrialCount"], first["TrialComponentCount"]) == ("prices", 3, 6)
    assert datetime.fromisoformat(first["LastChangeTime"]) > datetime.fromisoformat(first["CreationTime"])
    _, said, _ = penstock("--limit", "1")
    assert said == "1 more is there; --limit shows them.\n"


@pytest.mark.usefixtures("prices")
def test_a_program_gets_all_of_each_run_on_a_line(penstock: Penstock) -> None:
    (heads, *rows), said, _ = penstock("Prices")
    assert words(heads) == [
        "NAME", "STATUS", "CREATED", "loss", "mse", "rows", "depth", "about", "seed", "TRIAL",
    ]  # fmt: skip
    named = {words(row)[0]: row for row in rows}
    job = "sagemaker-scikit-learn-2026-07-05-12-30-15-123"
    assert [*named] == ["features", "alone", job, "depth-5", "depth-4", "depth-3"]
    assert words(named["depth-5"])[4:] == ["0.5", "2", "5", "5", *["words"] * 20, "7"]
    assert named["features"].endswith("  prices-weekly")
    assert named[job].endswith("  prices-weekly")
    assert "aws-trial" not in named["alone"]
    assert said == ""


@pytest.mark.usefixtures("prices")
def test_a_terminal_shows_what_tells_most_in_its_width(
    penstock: Penstock, terminal: Callable[[int], StringIO]
) -> None:
    heads = {}
    for width in (60, 80, 160):
        seen = terminal(width)
        _, said, _ = penstock("prices", "--sort", "mse")
        lines = seen.getvalue().splitlines()
        assert len(lines) == 7
        assert max(map(len, lines)) <= width
        heads[width] = words(lines[0])[3:]
        assert words(lines[1])[0] == "depth-3"
        assert ("no room for" in said) == (width < 160)
    assert heads[60] == ["mse"]
    assert heads[80] == ["mse", "loss", "depth"]  # what differs, and is short
    assert heads[160] == ["mse", "loss", "rows", "depth", "about", "seed", "TRIAL"]
    assert "3 words words words wor…" in seen.getvalue()
    seen = terminal(80)
    _, said, _ = penstock("prices")
    assert "sagemaker-scikit…05-12-30-15-123" in seen.getvalue()
    assert said.startswith("no room for ")
    assert "TRIAL" in said


@pytest.mark.usefixtures("prices")
def test_runs_are_sorted_by_a_metric_and_those_without_come_last(penstock: Penstock) -> None:
    def order(*args: str) -> list[str]:
        out, _, _ = penstock("prices", "--sort", "mse", *args)
        return [words(row)[0] for row in out[1:]]

    assert order("--limit", "3") == ["depth-3", "depth-4", "depth-5"]
    assert order("--ascending")[:3] == ["depth-5", "depth-4", "depth-3"]
    assert penstock("prices", "--sort", "mse", "--limit", "4")[1] == "2 more are there; --limit shows them.\n"
    out, _, _ = penstock("prices", "--sort", "mse", "--json", "--limit", "1")
    (first,) = json.loads("\n".join(out))
    assert first["TrialComponentName"] == "prices-depth-3"
    assert first["Parameters"]["depth"] == {"NumberValue": 3.0}


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("price",), "There is no experiment price. Did you mean prices?"),
        (("ric",), "There is no experiment ric. Did you mean prices?"),
        (("zoo",), "There is no experiment zoo. There are prices."),
        (("prices", "--sort", "mses"), "--sort mses: no run of prices has this metric. Did you mean mse?"),
        (("prices", "--sort", "zoo"), "no run of prices has this metric. Its runs have loss, mse, rows."),
        (("--sort", "mse"), "--sort mse: of which experiment? penstock experiments NAME --sort mse"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(penstock: Penstock, args: tuple[str, ...], told: str) -> None:
    out, said, code = penstock(*args)
    assert (out, code) == ([], 1)
    assert said == f"error: {told}\n" or said.endswith(f": {told}\n")


def test_where_nothing_is_it_says_so(penstock: Penstock) -> None:
    assert "There are no experiments. One comes with its first run" in penstock()[1]
    assert penstock("--json")[0] == ["[]"]
    assert "There is no experiment e. There are none at all." in penstock("e")[1]
    Experiment.create("e")
    assert penstock("e") == ([], "There are no runs in e yet.\n", 0)
    assert penstock("e", "--json")[0] == ["[]"]
    assert penstock("e", "--sort", "mse")[1] == "There are no runs in e yet.\n"


def test_of_many_runs_all_that_are_wanted_are_asked_for(
    penstock: Penstock, wired: WiredBoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "_PAGE", 3)
    trial = Experiment.create("many").create_trial("t")
    for number in range(8):
        trial.add_trial_component(Tracker.create(f"c-{number}").trial_component)
    wired.asked.clear()
    (_, *rows), said, _ = penstock("many", "--limit", "7")
    assert [row[:3] for row in rows] == [f"c-{number}" for number in range(7, 0, -1)]
    assert said == "1 more is there; --limit shows them.\n"
    assert wired.count("Search") == 3
    (_, *rows), said, _ = penstock("many", "--limit", "1000")
    assert (len(rows), said) == (8, "")


def test_words_of_a_program_do_not_move_the_cursor(penstock: Penstock) -> None:
    with Run("e", "r") as run:
        run.log_parameter("p\x1b[2J", "a\x1b[31mb\x07")
    (heads, row), _, _ = penstock("e")
    assert words(heads)[-1] == "p"
    assert words(row)[-1] == "ab"
