"""For all tests: the time of one drawn example says nothing on a machine that others use too."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
