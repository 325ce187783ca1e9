"""What a job is: values and rules, no I/O."""
