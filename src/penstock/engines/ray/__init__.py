"""A Ray cluster as an engine.

What runs where:

- `engine.py` in the server: the engine itself, which knows no Ray; `link.py` is its connection, `rooms.py` has who gets
  room, `kept.py` what it keeps on disk;
- `helper.py` in the server, `driver.py` at its other end: a process that holds the connection to the cluster, since a
  Ray that hangs or aborts must take nothing else with it;
- `door.py` on each node: an actor by which the node's own `LocalEngine` is reached;
- `examine.py`, a process of `penstock doctor`: what the cluster and its nodes are like;
- `nodes.py`: what fits on which nodes, and which are kept for whom. Pure;
- `demand.py`: which waiting job an autoscaler is shown. Pure.
"""
