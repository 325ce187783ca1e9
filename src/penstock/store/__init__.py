"""What is on record: jobs, hosts and tags in a database, log events in files."""
