"""One instance's work, in a process of its own that outlives the server."""
