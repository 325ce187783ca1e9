"""Every moment of a job's life, and whatever can be killed at it by SIGKILL: nothing is lost, nothing runs twice.

Each victim has a home of its own with a job at each moment; then the victim is killed, the server is started again if
it was the victim, and all go on.
"""

import hashlib
import re

import pytest
from crash_home import MOMENTS, VICTIMS, CrashHome, content, make_environments

pytestmark = pytest.mark.machine

PORTS = dict(zip(VICTIMS, range(16050, 16550, 100), strict=True))

WELL = "Completed", None
STOPPED = "Stopped", None
FAILED = "Failed", "^AlgorithmError: , exit code: 3$"
#: What is said of a job whose runner was killed, by how far it had come.
BEFORE = "Failed", "runner of algo-1 ended without a report while {moment}; it was killed or it crashed"
SAVED = (
    "Failed",
    "runner of algo-1 ended without a report; .* What the program had written by then was uploaded",
)
SAVED_2 = "Failed", r"runner of algo-2 .* by then was uploaded\. \(instance algo-2\)"
GIVEN_UP = "Failed", "runner of algo-1 .* while uploading; .* may not have been uploaded"

#: What becomes of the job at a moment: without its runner's death, and with it.
ENDS = {
    "queued": (WELL, WELL),
    "prepared": (WELL, WELL),
    "intended": (WELL, WELL),
    "asked-for": (WELL, WELL),
    "preparing": (WELL, BEFORE),
    "downloading": (WELL, BEFORE),
    "running": (WELL, SAVED),
    "half-ended": (WELL, SAVED_2),
    "stopping": (STOPPED, SAVED),
    "uploading": (WELL, WELL),
    "failing": (FAILED, FAILED),
    "uploaded": (WELL, WELL),
    "ended": (WELL, WELL),
    "reported": (WELL, WELL),
    "salvaging": (SAVED, SAVED),
}
#: A runner that was to save outputs is killed, too: its server gives up, and only a new server tries once more.
EXCEPTIONS = {("runner", "salvaging"): GIVEN_UP}

#: The instances whose programs had not begun to write their last output when their runners died.
EARLY = {"running/algo-1", "half-ended/algo-2", "stopping/algo-1", "salvaging/algo-1"}


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    return make_environments(tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="module")
def after(environments, tmp_path_factory):
    """What has become of the jobs of a victim's home, by moment: the home is made when it is first asked for."""
    known = {}

    def look(victim):
        if victim not in known:
            home = CrashHome(tmp_path_factory.mktemp(victim) / "home", PORTS[victim], environments)
            try:
                home.serve()
                home.fill()
                home.kill(victim)
                home.let_all_go()
                if victim in {"server", "all"}:
                    home.serve()
                home.wait_for_ends()
                shown = home.shown(MOMENTS)
                known[victim] = {job: (home.aftermath(job), shown[job]) for job in MOMENTS}, home.left()
            except BaseException as error:
                error.add_note(home.last_words())
                raise
            finally:
                home.close()
        return known[victim]

    return look


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_job_goes_on_or_ends_with_a_true_reason(after, victim, moment):
    found, shown = after(victim)[0][moment]
    runner_died = victim in {"runner", "all"}
    status, reason = EXCEPTIONS.get((victim, moment)) or ENDS[moment][runner_died]
    assert (found.status, bool(found.reason)) == (status, bool(reason))
    if reason:
        assert re.search(reason.format(moment=moment), found.reason)

    # The program was never started again, and where it had to run it did.
    never = runner_died and moment in {"preparing", "downloading"}
    who = [f"{moment}/algo-{n + 1}" for n in range(CrashHome.instances(moment))]
    assert found.starts == ({} if never else dict.fromkeys(who, 1))
    assert not found.twice

    # Objects are whole, and all that the programs had written by then.
    wanted = {}
    for one in [] if never else who:
        cut = one in EARLY and status == "Failed"
        sizes = {"early": 1000, **({} if cut else {"late": CrashHome.size(moment)})}
        wanted |= {
            f"{one.partition('/')[2]}/{name}": content(one, name, size) for name, size in sizes.items()
        }
    if (victim, moment) in EXCEPTIONS:
        assert found.objects.items() <= wanted.items()
        assert found.manifest.keys() <= found.objects.keys()
    else:
        assert found.objects == wanted
        assert found.manifest == {key: hashlib.sha256(body).hexdigest() for key, body in wanted.items()}

    # So are logs: what a program said before it wrote is there.
    for one in [] if never else who:
        log = found.log[one.partition("/")[2]]
        assert log.count("early is there") == 1
        assert log.count("late is there") == (not (one in EARLY and status == "Failed"))

    # And people are told.
    facts = dict(line.split("  ", 1) for line in shown.splitlines() if "  " in line)
    assert facts["status"].strip() == status
    assert facts.get("reason", "").strip() == (" ".join(found.reason.split()) if reason else "")


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_of_a_run_is_left_behind(after, victim):
    assert after(victim)[1] == []
