"""What Studio draws: tables and curves, as the JSON that it reads. scikit-learn and pandas are the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

#: The beginning of a column's type in pandas -> the type of a table's field.
_FIELD_TYPES = {
    "datetime": "datetime",
    "float": "number",
    "int": "number",
    "uint": "number",
    "bool": "boolean",
}


def table(
    title: str | None, values: Mapping[str, Sequence[Any]] | None = None, data_frame: Any = None
) -> dict[str, Any]:
    """A table of lists by the names of their columns, or of a DataFrame.

    Raises:
        ValueError: Neither or both were given, or a column is no list.
    """
    if (values is None) == (data_frame is None):
        raise ValueError("A table is of values= or of data_frame=: give one of the two.")
    if data_frame is not None:
        columns = {str(name): data_frame[name].tolist() for name in data_frame}
        types = [_field_type(str(data_frame.dtypes[name])) for name in data_frame]
    else:
        columns = dict(values or {})
        types = ["string"] * len(columns)
        wrong = [name for name, column in columns.items() if not isinstance(column, list)]
        if wrong:
            raise ValueError(f"Columns of a table are lists, as {{'x': [1, 2]}}; these are not: {wrong}.")
    fields = [{"name": name, "type": kind} for name, kind in zip(columns, types, strict=True)]
    return _chart("Table", title, fields=fields, data=columns)


def precision_recall(
    title: str | None, y_true: Any, probabilities: Any, positive_label: Any = None, no_skill: Any = None
) -> dict[str, Any]:
    """Precision against recall. Raises as `_metrics` and `_same_length` do."""
    _same_length(y_true, probabilities, "predicted probabilities")
    metrics = _metrics()
    label = {} if positive_label is None else {"pos_label": positive_label}
    precision, recall, _ = metrics.precision_recall_curve(y_true, probabilities, **label)
    average = metrics.average_precision_score(y_true, probabilities, average="micro", **label)
    return _chart(
        "PrecisionRecallCurve",
        title,
        precision=precision.tolist(),
        recall=recall.tolist(),
        averagePrecisionScore=float(average),
        noSkill=no_skill,
    )


def roc_curve(title: str | None, y_true: Any, y_score: Any) -> dict[str, Any]:
    """True against false positives. Raises as `_metrics` and `_same_length` do."""
    _same_length(y_true, y_score, "predicted scores")
    metrics = _metrics()
    false_positive, true_positive, _ = metrics.roc_curve(y_true, y_score)
    return _chart(
        "ROCCurve",
        title,
        falsePositiveRate=false_positive.tolist(),
        truePositiveRate=true_positive.tolist(),
        areaUnderCurve=float(metrics.auc(false_positive, true_positive)),
    )


def confusion_matrix(title: str | None, y_true: Any, y_pred: Any) -> dict[str, Any]:
    """What was taken for what. Raises as `_metrics` and `_same_length` do."""
    _same_length(y_true, y_pred, "predicted labels")
    matrix = _metrics().confusion_matrix(y_true, y_pred)
    return _chart("ConfusionMatrix", title, confusionMatrix=matrix.tolist())


def _chart(kind: str, title: str | None, **rest: Any) -> dict[str, Any]:
    return {"type": kind, "version": 0, "title": title, **rest}


def _metrics() -> Any:
    """scikit-learn's metrics.

    Raises:
        ImportError: It is not installed.
    """
    try:
        from sklearn import metrics  # noqa: PLC0415 - the user's own
    except ImportError as error:
        raise ImportError(
            "Curves and matrices are computed by scikit-learn, which is not installed here. "
            "Run: pip install scikit-learn"
        ) from error
    return metrics


def _same_length(true: Sized, predicted: Sized, what: str) -> None:
    if len(true) != len(predicted):
        raise ValueError(
            f"There are {len(true)} true labels and {len(predicted)} {what}: one each is needed."
        )


def _field_type(of_pandas: str) -> str:
    return next((kind for begin, kind in _FIELD_TYPES.items() if of_pandas.startswith(begin)), "string")
