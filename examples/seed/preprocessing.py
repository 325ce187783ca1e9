"""Cleans all CSV files of the input and splits them into train and validation."""

import argparse
import os
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

INPUT = Path("/opt/ml/processing/input")
OUTPUT = Path("/opt/ml/processing/output")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratio", type=float, default=0.2, help="the part that becomes validation")
    ratio = parser.parse_args().ratio

    # The code of the job lies below its input, too; the data does not.
    files = sorted(path for path in INPUT.rglob("*.csv") if not {"code", "entrypoint"} & set(path.relative_to(INPUT).parts[:1]))
    if not files:
        raise SystemExit(f"There is no CSV file below {INPUT}.")
    frames = []
    for path in files:
        frame = pd.read_csv(str(path))
        print(f"{path.relative_to(INPUT)}: {frame.shape[0]} rows, {frame.shape[1]} columns")
        frames.append(frame)
    data = pd.concat(frames, ignore_index=True)

    clean = data.drop_duplicates().dropna()
    print(f"cleaned: {data.shape} -> {clean.shape}")
    # The label first and no header: what SageMaker's XGBoost expects of a CSV file.
    label = "target" if "target" in clean.columns else clean.columns[-1]
    clean = clean[[label] + [column for column in clean.columns if column != label]]

    train, validation = train_test_split(clean, test_size=ratio, random_state=42)
    for name, part in (("train", train), ("validation", validation)):
        folder = OUTPUT / name
        os.makedirs(str(folder), exist_ok=True)
        part.to_csv(str(folder / f"{name}.csv"), header=False, index=False)
        print(f"{name}: {part.shape}")


if __name__ == "__main__":
    main()
