import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest
from test_runner_parts import run

from penstock.cli.jobs import limits_of
from penstock.machine import Machine
from penstock.runner.claims import Claims
from penstock.runner.limits import share

GIB = 1 << 30
MACHINE = Machine(cpus=tuple(range(8)), share=8, memory_bytes=32 * GIB, processes=100_000, gpus=(0, 1, 2, 3))


@pytest.fixture
def of(tmp_path):
    """A function that gives the share of a job of some type, beside those that it gave before."""

    def give(kind, machine=MACHINE, *, preferred=False, **settings):
        member = "SelectedInstanceType" if preferred else "InstanceType"
        resources = {"ClusterConfig": {member: kind, "InstanceCount": 1, "VolumeSizeInGB": 30}}
        made = run(ProcessingResources=resources)
        claims = running.enter_context(Claims(tmp_path / "claims"))
        return share(replace(made, **settings), machine, claims)

    with ExitStack() as running:
        yield give


def test_a_type_that_fits_gets_what_it_has(of):
    given = of("ml.m5.large")
    assert (given.limits.cpus, given.limits.memory, given.limits.gpus) == ((0, 1), 8 * GIB, ())
    assert given.limits.shared_memory == 4 * GIB
    assert given.limits.processes == 4096
    assert (given.notes, given.capped) == ((), False)


def test_a_type_that_was_chosen_from_preferences(of):
    assert of("ml.m5.large", preferred=True).limits.memory == 8 * GIB


def test_a_larger_type_gets_the_machine_and_the_log_says_so(of):
    small = Machine((0, 1), 2, int(23.54 * GIB), 32768, ())
    given = of("ml.m5.24xlarge", small)
    assert given.notes == ("ml.m5.24xlarge has 96 CPUs and 384 GiB; this machine gives 2 CPUs and 23.5 GiB.",)
    assert (given.limits.cpus, given.limits.memory, given.capped) == (None, small.memory_bytes, True)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("ml.m5.xlarge", "ml.m5.xlarge has 4 CPUs and 16 GiB; this machine gives 1 CPU and 16 GiB."),
        (
            "ml.g4dn.xlarge",
            "ml.g4dn.xlarge has 4 CPUs, 16 GiB and 1 GPU; this machine gives 1 CPU, 16 GiB and 0 GPUs.",
        ),
    ],
)
def test_what_is_missing_is_named_beside_what_is_there(of, kind, note):
    given = of(kind, Machine((3,), 1, 16 * GIB, 32768, ()))
    assert (given.notes, given.capped) == ((note,), False)


def test_in_a_container_with_less_time_than_processors(of):
    given = of("ml.m5.2xlarge", Machine(tuple(range(8)), 2, 32 * GIB, 32768, ()))
    assert given.limits.cpus == (0, 1)
    assert "this machine gives 2 CPUs and 32 GiB" in given.notes[0]


@pytest.mark.parametrize(("kind", "gpus"), [("local", ()), ("local_gpu", (0, 1, 2, 3))])
def test_local_is_the_whole_machine(of, kind, gpus):
    given = of(kind)
    assert (given.limits.cpus, given.limits.memory, given.limits.gpus) == (None, 32 * GIB, gpus)
    assert (given.notes, given.capped) == ((), False)


def test_a_type_that_is_not_known_gets_all_and_the_log_says_so(of):
    given = of("ml.z9.large")
    assert (given.limits.cpus, given.limits.memory, given.limits.gpus) == (None, 32 * GIB, (0, 1, 2, 3))
    assert given.notes == ("What ml.z9.large has is not known: the program gets 8 CPUs, 32 GiB and 4 GPUs.",)


def test_cards_are_given_by_number_and_cuda_counts_anew(of):
    first, second = of("ml.g4dn.xlarge"), of("ml.g4dn.xlarge")
    assert (first.limits.gpus, second.limits.gpus) == ((0,), (1,))
    assert second.variables == {"NVIDIA_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"}
    assert of("local_gpu").variables == {
        "NVIDIA_VISIBLE_DEVICES": "0,1,2,3",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
    }
    assert of("ml.m5.large").variables == {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": ""}
    assert of("ml.m5.large", Machine((0,), 1, GIB, 9999, ())).variables == {}


def test_limits_may_be_off(of):
    given = of("ml.m5.large", limits="off")
    assert set(vars(given.limits).values()) == {None}
    assert given.variables == {}
    assert of("ml.m5.large", limits="off", shm_bytes=5).limits.shared_memory == 5


def test_shared_memory_and_processes(of):
    assert of("ml.m5.large", shm_bytes=1 << 20).limits.shared_memory == 1 << 20
    assert of("ml.m5.large", Machine((0, 1), 2, 8 * GIB, 3000, ())).limits.processes == 1500
    assert (
        of("ml.m5.24xlarge", Machine(tuple(range(96)), 96, 384 * GIB, 1 << 22, ())).limits.processes
        == 96 * 256
    )


def test_a_failure_for_memory_names_limit_type_and_remedy(of):
    assert of("ml.m5.large").failure(frozenset({"memory"}), 137).reason == (
        "ClientError: Out of memory: the program used more than the 8 GiB of ml.m5.large. Choose an instance type with "
        "more memory, or let it use less. (Exit code: 137.)"
    )
    capped = of("ml.r5.24xlarge").failure(frozenset({"memory", "processes"}), 1).reason
    assert (
        "more than the 32 GiB that this machine gives to ml.r5.24xlarge. Run it on a machine with more"
        in capped
    )


def test_a_failure_for_processes(of):
    said = of("ml.m5.large").failure(frozenset({"processes"}), 1).reason
    assert said.startswith(
        "ClientError: Too many processes: it may have 4096 processes and threads at once on ml.m5.large"
    )
    assert of("ml.m5.large").failure(frozenset(), 1) is None


def test_who_goes_on_finds_remarks_in_the_log(of):
    lines = of("ml.m5.large").remarks(frozenset({"memory", "processes"}))
    assert lines[0].startswith(
        "A process of the program was killed for its memory: the program used more than the 8 GiB"
    )
    assert lines[1].startswith("The program was refused further processes: it may have 4096")
    assert of("ml.m5.large").remarks(frozenset()) == []


def test_the_record_is_what_describe_shows(of):
    record = of("ml.g4dn.xlarge").record()
    assert record["instance_type"] == "ml.g4dn.xlarge"
    assert (
        limits_of(record)
        == "CPUs 0, 1, 2, 3, 16.0 GiB of memory, 8.0 GiB of /dev/shm, 4096 processes, GPUs 0"
    )
    assert limits_of(of("ml.m5.large", limits="off").record()) == "all CPUs, all memory"


class TestClaims:
    def test_the_next_one_takes_others_and_then_shares(self, tmp_path):
        with Claims(tmp_path / "c") as one, Claims(tmp_path / "c") as two, Claims(tmp_path / "c") as three:
            assert one.take("cpus", range(4), 2) == (0, 1)
            assert two.take("cpus", range(4), 1) == (2,)
            taken = three.take("cpus", range(4), 2)
            assert len(set(taken)) == 2
            assert 3 in taken
            assert three.take("gpus", (0, 1), 1) == (0,)

    def test_what_a_run_had_is_free_when_it_has_ended(self, tmp_path):
        with Claims(tmp_path / "c") as one:
            one.take("cpus", range(2), 2)
        with Claims(tmp_path / "c") as two:
            assert two.take("cpus", range(2), 1) == (0,)

    def test_it_asks_for_no_more_than_there_is(self, tmp_path):
        with Claims(tmp_path / "c") as one:
            assert one.take("cpus", (4, 6), 9) == (4, 6)
            assert one.take("gpus", (), 1) == ()

    def test_a_lock_ends_with_its_process_however_it_ends(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from penstock.runner.claims import Claims; "
            "c = Claims(Path(sys.argv[1])); print(c.take('cpus', range(2), 1), flush=True); sys.stdin.read()"
        )
        with (
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path / "c")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as other,
            Claims(tmp_path / "c") as mine,
        ):
            assert other.stdout.readline() == b"(0,)\n"
            assert mine.take("cpus", range(2), 1) == (1,)
            other.kill()
            other.wait()
            assert mine.take("cpus", (0,), 1) == (0,)
