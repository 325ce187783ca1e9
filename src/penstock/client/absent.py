"""What SageMaker's SDK has and Penstock's has not: what it is, and what to do without it, in words for an import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_WHOLE = (
    "To have all of SageMaker's SDK, install it beside Penstock (pip install 'sagemaker<3'): "
    "`penstock python SCRIPT` then runs on it, and its processing jobs still run here."
)
_TRAINING = (
    "belongs to training jobs",
    "Run the training script by a FrameworkProcessor, with the model's folder as a ProcessingOutput.",
)
_TRAINING_INPUT = (
    "describes an input of training jobs",
    "That of a processing job is sagemaker.processing.ProcessingInput.",
)
_HOSTING = (
    "belongs to endpoints and batch transform",
    "Load the model and predict in the script of a processing job.",
)
_PIPELINES = (
    "belongs to pipelines and their steps",
    "Call run() of the processors in turn: each waits for its job, and one's output is the next one's input.",
)
_AMAZONS_IMAGES = (
    "runs images of Amazon's own, which are to be had on AWS alone",
    "Put the analysis into a script of your own and run it by a ScriptProcessor.",
)
_RECORDS = (
    "keeps its records in services of AWS's that Penstock has not",
    "Experiments, runs, their metrics and artifacts are kept here too: sagemaker.experiments, and boto3 for lineage.",
)
_SPARK = (
    "runs images with Spark",
    "Penstock has none yet; what fits one machine may use pandas in a ScriptProcessor.",
)
_REMOTE = (
    "runs functions as training jobs",
    "Write the function into a script and run it by a ScriptProcessor.",
)
_V3 = ("is of SageMaker's SDK v3", "Penstock's own SDK has the modules and names of v2.")

#: Modules, without `sagemaker.` and with all below them -> what they are, what to do without.
MODULES = {
    **dict.fromkeys(("algorithm", "amazon", "chainer", "debugger", "parameter", "rl", "tuner"), _TRAINING),
    "inputs": _TRAINING_INPUT,
    **dict.fromkeys(
        ("async_inference", "batch_inference", "deserializers", "djl_inference", "jumpstart", "model", "multidatamodel",
         "pipeline", "predictor", "serializers", "serverless", "sklearn.model", "transformer", "pytorch.model",
         "tensorflow.model", "xgboost.model", "huggingface.model", "mxnet.model"),
        _HOSTING,
    ),
    "workflow": _PIPELINES,
    **dict.fromkeys(("clarify", "model_monitor", "wrangler"), _AMAZONS_IMAGES),
    **dict.fromkeys(("feature_store", "lineage", "mlflow", "model_card", "model_metrics"), _RECORDS),
    "spark": _SPARK,
    "remote_function": _REMOTE,
    **dict.fromkeys(("core", "mlops", "serve", "train"), _V3),
}  # fmt: skip

#: Names in modules that are there -> the same.
NAMES = {
    **dict.fromkeys(("AlgorithmEstimator", "Estimator", "EstimatorBase"), _TRAINING),
    **dict.fromkeys(("TrainingInput", "file_input"), _TRAINING_INPUT),
    **dict.fromkeys(("Model", "ModelPackage", "Predictor", "LocalSagemakerRuntimeClient"), _HOSTING),
    "LocalSagemakerClient": (
        "is the inside of SageMaker's local mode",
        "LocalSession().sagemaker_client is a boto3 client with all operations of processing jobs.",
    ),
}


def module(name: str) -> str | None:
    """Why `sagemaker.<name>` is not there and what to do; None when nothing is known of such a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if known := MODULES.get(".".join(parts[:length])):
            return _words(*known)
    return None


def explain(package: str) -> None:
    """Let the module `package`, the one that calls, say of names that SageMaker's has why it lacks them.

    Not an assignment in the module itself: type checkers would then take every name for one that is there.
    """
    vars(sys.modules[package])["__getattr__"] = getter(package)


def getter(package: str, then: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """A module's `__getattr__` that does so.

    Args:
        package: The module's own name.
        then: What finds names otherwise; raises an AttributeError for those it doesn't know.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes one
        known = NAMES.get(name)
        if known is None and name.endswith(("Model", "Predictor")):
            known = _HOSTING
        if known is None:
            if then is not None:
                return then(name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # An AttributeError's words would be lost in `from penstock import Name`.
        raise ImportError(f"There is no {name} in {package}: it {_words(*known)}", name=package)

    return __getattr__


def _words(what: str, instead: str) -> str:
    return f"{what}, and Penstock is SageMaker Processing alone. {instead} {_WHOLE}"
