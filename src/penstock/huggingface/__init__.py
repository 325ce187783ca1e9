"""Hugging Face for Processing jobs."""

from penstock.client import absent
from penstock.huggingface.estimator import HuggingFace
from penstock.huggingface.processing import HuggingFaceProcessor

__all__ = ["HuggingFace", "HuggingFaceProcessor"]

absent.explain(__name__)
