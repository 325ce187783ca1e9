"""The package sagemaker-experiments, and Penstock's own SDK, which has the same names."""

from pathlib import Path
from time import strftime

import boto3
from botocore.exceptions import ClientError
from case import main, raised, unique, until
from smexperiments import api_types
from smexperiments.experiment import Experiment
from smexperiments.search_expression import Filter, Operator, SearchExpression
from smexperiments.tracker import Tracker
from smexperiments.trial import Trial
from smexperiments.trial_component import TrialComponent


def experiments():
    """Experiment.load and create, Trial.create, and a job that is part of the trial, as in the tutorials"""
    name = unique("tutorial")
    error = raised(ClientError, lambda: Experiment.load(name))
    assert error.response["Error"]["Code"] == "ResourceNotFound"
    Experiment.create(experiment_name=name, description="A tutorial's")
    assert Experiment.load(name).description == "A tutorial's"
    trial = Trial.create(trial_name=f"{name}-{strftime('%m%d-%H%M%S')}", experiment_name=name)
    client = boto3.client("sagemaker")
    client.create_processing_job(
        ProcessingJobName=trial.trial_name,
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
        AppSpecification={"ImageUri": "python:3.11", "ContainerEntrypoint": ["true"]},
        RoleArn="arn:aws:iam::000000000000:role/any",
        ExperimentConfig={"TrialName": trial.trial_name, "TrialComponentDisplayName": trial.trial_name},
    )
    (one,) = trial.list_trial_components()
    assert one.display_name == trial.trial_name
    until(lambda: TrialComponent.load(one.trial_component_name).status.primary_status == "Completed")
    told = Tracker.load(processing_job_name=trial.trial_name)
    assert told.trial_component.parameters["SageMaker.InstanceCount"] == 1.0
    told.log_parameter("added", "later")
    told.close()
    assert TrialComponent.load(one.trial_component_name).parameters["added"] == "later"


def trackers():
    """Tracker.create: parameters, inputs, outputs, files, tables; the trial that it is put into"""
    trial = Experiment.create(experiment_name=unique("tracked")).create_trial(trial_name=unique("tracked"))
    Path("made.csv").write_text("1,2\n")
    Path("used.csv").write_text("3,4\n")
    with Tracker.create(base_trial_component_name=unique("step"), display_name="A-step") as told:
        told.log_parameters({"rate": 0.1, "text": "a"})
        told.log_input("in", "s3://bucket/in", media_type="text/csv")
        told.log_output("out", "s3://bucket/out")
        told.log_artifact("made.csv", name="made")
        told.log_input_artifact("used.csv")
        told.log_table("Table", {"x": [1, 2]})
        trial.add_trial_component(told)
    found = TrialComponent.load(told.trial_component.trial_component_name)
    assert found.parameters == {"rate": 0.1, "text": "a"}
    assert found.input_artifacts["in"] == api_types.TrialComponentArtifact("s3://bucket/in", "text/csv")
    assert found.output_artifacts["made"].value.endswith(f"{found.trial_component_name}/made.csv")
    assert found.status.primary_status == "Completed"
    assert found.start_time <= found.end_time
    made = boto3.client("sagemaker").list_associations(SourceArn=found.trial_component_arn)
    assert {one["DestinationName"] for one in made["AssociationSummaries"]} == {"made", "Table"}
    used = boto3.client("sagemaker").list_associations(DestinationArn=found.trial_component_arn)
    assert found.input_artifacts["used.csv"].media_type == "text/csv"
    assert [one["SourceName"] for one in used["AssociationSummaries"]] == ["used.csv"]
    assert [one.trial_name for one in found.list_trials()] == [trial.trial_name]
    error = raised(ZeroDivisionError, _fail)
    assert str(error) == "division by zero"


def _fail():
    with Tracker.create(base_trial_component_name=unique("fails")) as told:
        try:
            _ = 1 / 0
        finally:
            name = told.trial_component.trial_component_name
    assert TrialComponent.load(name).status.primary_status == "Failed"


def searches():
    """list, search with conditions and order; delete_all"""
    experiment = Experiment.create(experiment_name=unique("searched"))
    for number in range(2):
        component = TrialComponent.create(trial_component_name=f"{unique('part')}-{number}")
        component.parameters = {"size": number}
        component.save()
        experiment.create_trial().add_trial_component(component)
    wanted = SearchExpression(
        filters=[
            Filter("Parents.ExperimentName", Operator.EQUALS, experiment.experiment_name),
            Filter("Parameters.size", Operator.GREATER_THAN, "0"),
        ]
    )
    (found,) = TrialComponent.search(search_expression=wanted, sort_by="CreationTime")
    assert found.trial_component_name == f"{unique('part')}-1"
    assert experiment.experiment_name in [one.experiment_name for one in Experiment.list()]
    raised(ValueError, lambda: experiment.delete_all(action="yes"))
    experiment.delete_all(action="--force")
    assert raised(ClientError, component.save).response["Error"]["Code"] == "ResourceNotFound"


if __name__ == "__main__":
    main(globals())
