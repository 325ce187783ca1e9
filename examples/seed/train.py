"""Trains XGBoost on CSV files with the label first and no header; writes model.tar.gz."""

import argparse
import io
import tarfile
import tempfile
from pathlib import Path

import pandas as pd
import xgboost as xgb

TRAIN = Path("/opt/ml/processing/train")
MODEL = Path("/opt/ml/processing/model")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--eta", type=float, default=0.1)
    arguments = parser.parse_args()

    files = sorted(TRAIN.glob("*.csv"))
    if not files:
        raise SystemExit(f"There is no CSV file in {TRAIN}.")
    train = pd.concat([pd.read_csv(str(path), header=None) for path in files], ignore_index=True)
    print(f"training data: {train.shape}")
    matrix = xgb.DMatrix(train.iloc[:, 1:].to_numpy(), label=train.iloc[:, 0].to_numpy())
    parameters = {"objective": "reg:squarederror", "max_depth": arguments.depth, "eta": arguments.eta, "seed": 0}
    booster = xgb.train(parameters, matrix, num_boost_round=arguments.rounds)

    with tempfile.TemporaryDirectory() as folder:
        # JSON is read by the version that wrote it and by all later ones.
        path = Path(folder, "model.json")
        booster.save_model(str(path))
        raw = path.read_bytes()
    MODEL.mkdir(parents=True, exist_ok=True)
    with tarfile.open(str(MODEL / "model.tar.gz"), "w:gz") as archive:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))
    print(f"model: {len(raw)} bytes, {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
