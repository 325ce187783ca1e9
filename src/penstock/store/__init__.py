"""What is on record: jobs, hosts, tags and metrics in a database, log events in files."""
