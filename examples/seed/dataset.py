"""Writes scikit-learn's diabetes dataset (442 patients, 10 measures, one target) as a CSV file."""

from pathlib import Path

from sklearn.datasets import load_diabetes

OUTPUT = Path("/opt/ml/processing/output")


def main():
    data = load_diabetes(as_frame=True).frame
    OUTPUT.mkdir(parents=True, exist_ok=True)
    data.to_csv(str(OUTPUT / "diabetes.csv"), index=False)
    print(f"diabetes.csv: {data.shape}, columns {', '.join(data.columns)}")


if __name__ == "__main__":
    main()
