"""Measures an XGBoost model on test data: mean squared error and the spread of the errors."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost as xgb

MODEL = Path("/opt/ml/processing/model/model.tar.gz")
TEST = Path("/opt/ml/processing/test")
OUTPUT = Path("/opt/ml/processing/output")


def load_model():
    with tarfile.open(str(MODEL)) as archive:
        # The one file that is wanted, and nothing by a path of the archive's choosing.
        member = next((each for each in archive.getmembers() if Path(each.name).name == "xgboost-model"), None)
        if member is None:
            raise SystemExit(f"There is no xgboost-model in {MODEL}.")
        raw = archive.extractfile(member).read()
    booster = xgb.Booster()
    booster.load_model(bytearray(raw))
    return booster


def main():
    booster = load_model()
    files = sorted(TEST.glob("*.csv"))
    if not files:
        raise SystemExit(f"There is no CSV file in {TEST}.")
    test = pd.concat([pd.read_csv(str(path), header=None) for path in files], ignore_index=True)
    print(f"test data: {test.shape}")
    label = test.iloc[:, 0].to_numpy()
    features = test.iloc[:, 1:].to_numpy()

    errors = label - booster.predict(xgb.DMatrix(features))
    metrics = {
        "regression_metrics": {
            "mse": {
                "value": float(np.mean(errors**2)),
                "standard_deviation": float(np.std(errors)),
            },
        },
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "evaluation.json").write_text(json.dumps(metrics))
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
