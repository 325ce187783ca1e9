"""Measurements. `make bench` runs all of them; figures are only ever compared within one run."""
