"""What the SDK and the command line use to reach a server."""
