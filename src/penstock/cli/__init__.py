"""The `penstock` command: data on stdout, everything else on stderr."""
