"""Evaluation: measure a trained XGBoost model on test data, as a SageMaker Processing job.

    penstock python examples/seed/evaluation_sample.py BUCKET MODEL_S3_URI DATA_S3_URI EXPERIMENT

MODEL_S3_URI is the model.tar.gz, DATA_S3_URI the folder in which test.csv lies. The job's name is printed.
INSTANCE_TYPE=local in the environment takes the sample's other way.
"""

import os
import sys
import time
from types import SimpleNamespace

from botocore.exceptions import ClientError
from sagemaker import get_execution_role
from sagemaker.xgboost import XGBoost
from smexperiments.experiment import Experiment
from smexperiments.trial import Trial

# What the sample leaves open: its source lies beside this file, and names and places are arguments.
os.chdir(os.path.dirname(os.path.abspath(__file__)))
bucket, model_data, data_path, experiment_name = sys.argv[1:5]
role = get_execution_role()
estimator = SimpleNamespace(model_data=model_data)


def create_experiment(experiment_name):
    """Unless it is there."""
    try:
        Experiment.load(experiment_name)
    except ClientError:
        Experiment.create(experiment_name=experiment_name)
    print(f"experiment: {experiment_name}")


def create_trial(experiment_name):
    """A name of its own for each trial."""
    trial_name = f"{experiment_name}-{time.strftime('%Y-%m-%d-%H-%M-%S')}-{time.time_ns() // 1_000_000 % 1000:03}"
    trial = Trial.create(trial_name=trial_name, experiment_name=experiment_name)
    print(f"trial: {trial.trial_name}")
    return trial.trial_name


# The sample, as it stands (but for the instance type, which may be chosen, and the place of local data):

from sagemaker.processing import FrameworkProcessor
from sagemaker.processing import ProcessingInput, ProcessingOutput

instance_count = 1
instance_type = os.environ.get("INSTANCE_TYPE", "ml.m5.large")
# instance_type = 'local'

script_eval = FrameworkProcessor(
    XGBoost,
    framework_version="1.3-1",
    role=role,
    instance_type=instance_type,
    instance_count=instance_count
)

artifacts_dir = estimator.model_data

s3_test_path = data_path + '/test.csv'
detect_outputpath = f's3://{bucket}/xgboost/processing'

source_dir='src'

if instance_type == 'local':
    from sagemaker.local import LocalSession
    from pathlib import Path

    sagemaker_session = LocalSession()
    sagemaker_session.config = {'local': {'local_code': True}}
    source_dir = f'{Path.cwd()}/src'
    s3_test_path = os.environ.get("LOCAL_TEST_PATH", '../data/dataset/test.csv')
    
create_experiment(experiment_name)
job_name = create_trial(experiment_name)

script_eval.run(
    code="evaluation.py",
    source_dir=source_dir,
    inputs=[ProcessingInput(source=s3_test_path, input_name="test_data", destination="/opt/ml/processing/test"),
            ProcessingInput(source=artifacts_dir, input_name="model_weight", destination="/opt/ml/processing/model")
    ],
    outputs=[
        ProcessingOutput(source="/opt/ml/processing/output", output_name='evaluation', destination=detect_outputpath + "/" + job_name),
    ],
    job_name=job_name,
    experiment_config={
        'TrialName': job_name,
        'TrialComponentDisplayName': job_name,
    },
    wait=False
)

# The sample does not wait; whoever wants to, can.
if os.environ.get("WAIT"):
    script_eval.latest_job.wait()
