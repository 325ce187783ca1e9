import pytest

from penstock.testing.simulation.store import MemoryStore
from penstock.testing.stores import StoreSuite


class TestMemoryStore(StoreSuite):
    """The suite of all stores, but for what a simulation never asks for."""

    # Opened again, by threads, by other columns: it is in memory, of one thread, and holds what the simulation needs.
    test_what_was_stored_is_there_after_opening_again = None
    test_a_character_0_harms_nothing = None
    test_of_many_that_come_with_the_same_names_one_has_each = None
    test_writers_in_many_threads_lose_nothing = None
    test_of_many_writers_at_once_one_wins_each_version = None
    test_events_that_come_at_once_are_all_applied = None
    test_jobs_are_found_by_arn_in_whatever_case = None
    test_jobs_are_found_by_their_component = None
    test_streams_are_found_by_name_and_by_prefix = None

    @pytest.fixture
    def store(self):
        return MemoryStore()
