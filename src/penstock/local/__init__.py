"""SageMaker's local mode. Here all jobs run locally, so its session is a session like any other."""

from penstock.client import absent
from penstock.local.local_session import LocalSession

__all__ = ["LocalSession"]

absent.explain(__name__)
