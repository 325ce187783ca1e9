"""The loop that carries a job from wish to end."""
