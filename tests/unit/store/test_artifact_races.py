"""An artifact that is removed while a job is made that has one of the same source."""

from sqlalchemy import delete, event

from penstock.job.experiments import entity_arn
from penstock.job.lineage import Artifact
from penstock.store.finding import Order, Value
from penstock.store.lineage import AssociationQuery
from penstock.store.tables import artifacts
from penstock.testing.store_experiments import a_part
from penstock.testing.store_lineage import an_artifact, key
from penstock.testing.stores import open_store


def test_a_job_has_its_artifact_though_it_was_removed_in_between(tmp_path):
    """Where several write at once, it may go between the INSERT that finds it there and the lock."""
    store = open_store(str(tmp_path / "p.db"))
    job = a_part("j", {"RunName": "r"})
    image = job.request["AppSpecification"]["ImageUri"]
    there = an_artifact(image)
    there = Artifact(entity_arn(job.arn, Artifact, key(there)), "Image", image, 1, 1)
    store.experiments.add(there, {})
    engine, removed = store._engine, []

    @event.listens_for(engine, "after_execute")
    def remove(c, statement, *_):
        if getattr(statement, "table", None) is artifacts and statement.is_insert and not removed:
            removed.append(there)
            c.execute(delete(artifacts))

    store.add_job(job, {})
    assert removed
    found, _ = store.experiments.find(Artifact, [], Order(Value("key"), descending=False))
    [used], _ = store.lineage.find(AssociationQuery(), 9, None)
    assert [one.arn for one in found] == [used.source]
    store.close()
