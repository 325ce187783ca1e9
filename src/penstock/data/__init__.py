"""S3 to folder, folder to S3."""
