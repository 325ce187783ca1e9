"""Which S3 is used: an embedded SeaweedFS, or an endpoint of the user's own. `choose.py` decides, nothing else."""
