"""Hugging Face for Processing jobs."""

from penstock.huggingface.estimator import HuggingFace
from penstock.huggingface.processing import HuggingFaceProcessor

__all__ = ["HuggingFace", "HuggingFaceProcessor"]
