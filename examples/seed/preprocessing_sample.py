"""Preprocessing: clean a dataset and split it into train and validation, as a SageMaker Processing job.

    penstock python examples/seed/preprocessing_sample.py s3://bucket/dataset/ s3://bucket/train s3://bucket/validation
"""

import os
import sys

from sagemaker import get_execution_role
from sagemaker.pytorch import PyTorch

# What the sample leaves open: its script lies beside this file, and the places in S3 are arguments.
os.chdir(os.path.dirname(os.path.abspath(__file__)))
INPUT_S3_URI, OUTPUT_S3_URI_1, OUTPUT_S3_URI_2 = sys.argv[1:4]
role = get_execution_role()

# The sample, as it stands:

# Built-in Scikit Learn Container or FrameworkProcessor
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.processing import Processor, ScriptProcessor, FrameworkProcessor

processor= FrameworkProcessor(PyTorch, framework_version="1.10", 
				   role=role, instance_type='ml.g5.xlarge', 
				   instance_count=1)

from sagemaker.processing import ProcessingInput, ProcessingOutput

processor.run(
    code='preprocessing.py',
    inputs=[ProcessingInput(source=INPUT_S3_URI, destination='/opt/ml/processing/input')],
    outputs=[ProcessingOutput(source='/opt/ml/processing/output/train', destination=OUTPUT_S3_URI_1),
             ProcessingOutput(source='/opt/ml/processing/output/validation', destination=OUTPUT_S3_URI_2)]
)
