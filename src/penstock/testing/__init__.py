"""Fakes with knobs and conformance suites, for us and for authors of engines and runtimes."""
