"""Programs in containers of any image, by Docker or Podman through their API (docker-py).

Read in this order: `engine.py` (where the engine is), `image.py` (pull, and what the image says), `runtime.py` (the
`Runtime`), `running.py` (a started container), `reaper.py` (its end when the runner dies), `remains.py` (what a dead
runner left behind).
"""
