"""Bytes to checked values and results to bytes, by botocore's service models. Knows no job."""
