"""Where instances run. An engine is one file; `base.py` is all it must do."""
