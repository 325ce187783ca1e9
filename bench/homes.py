"""Where a measurement's server lives: a home of its own, whatever the user's shell points to."""

import os


def point_to(home, port):
    """Lead this process and its children to a server with this home and port, and to nothing else of the user's."""
    os.environ["PENSTOCK_HOME"] = str(home)
    os.environ["PENSTOCK_PORT"] = str(port)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER", "PENSTOCK_ENVIRONMENTS"):
        os.environ.pop(name, None)
