"""Framework ↔ image URI, and what each image contains, as data. Stdlib only: the SDK imports it."""
