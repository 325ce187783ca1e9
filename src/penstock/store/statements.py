"""What every job needs of the database, as statements that the driver runs by itself (`bare.py` says why)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Integer,
    String,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from penstock.job.life import ALONE
from penstock.store import queue
from penstock.store.bare import Bare
from penstock.store.dialect import Dialect
from penstock.store.rows import HOST_MOVES, JOB_MOVES
from penstock.store.servers import runs
from penstock.store.tables import ACTIVE, BEGUN, components, hosts, jobs, tags

#: The columns that say who carries a job, and where it was begun: on whose machine, and by which engine.
_CARRIER = ("server", "epoch", "place", "engine")
#: The columns of a job's trial component that follow the job.
_FOLLOWING = ("status", "message", "started_at", "ended_at", "modified_at")


class Statements:
    """Jobs are named by `wanted`, or `of_uid` and the version `before` a move; hosts by `of_uid` and `of_name`.

    Trial components are named by `of_component` and by `of_uid`, their job; who carries jobs by `by_server` and
    `by_epoch`.
    """

    def __init__(self, dialect: Dialect) -> None:
        engine = dialect.engine
        wanted: BindParameter[str] = bindparam("wanted")
        of_uid: BindParameter[str] = bindparam("of_uid")
        begun = select(jobs).where(BEGUN).order_by(jobs.c.created_at, jobs.c.name)
        host = and_(hosts.c.job_uid == of_uid, hosts.c.name == bindparam("of_name"))
        unmoved = and_(jobs.c.uid == of_uid, jobs.c.version == bindparam("before"))
        by_server: BindParameter[str] = bindparam("by_server", type_=String)
        by_epoch: BindParameter[int] = bindparam("by_epoch", type_=Integer)
        carried = and_(jobs.c.server == by_server, jobs.c.epoch == by_epoch)
        running = exists().where(runs(dialect.now, by_server, by_epoch))
        leased = or_(by_server == literal_column(f"'{ALONE.server}'"), running)
        of_begun = hosts.c.job_uid.in_(select(jobs.c.uid).where(BEGUN))
        self.active = Bare(engine, select(func.count().label("count")).select_from(jobs).where(ACTIVE))
        self.job_by_name = Bare(engine, select(jobs).where(jobs.c.name == wanted))
        self.job_by_uid = Bare(engine, select(jobs).where(jobs.c.uid == wanted))
        self.begun = Bare(engine, begun)
        self.hosts_of_begun = Bare(engine, select(hosts).where(of_begun))
        self.heads = Bare(engine, queue.heads(lateral=dialect.lateral))
        self.hosts = Bare(engine, select(hosts).where(hosts.c.job_uid == wanted))
        self.host = Bare(engine, select(hosts).where(host))
        self.host_locked = Bare(engine, select(hosts).where(host).with_for_update())
        self.host_lapsed = Bare(
            engine, select(hosts).where(host, hosts.c.lease_until <= dialect.now).with_for_update()
        )
        until = dialect.now + bindparam("lease_ms", type_=BigInteger)
        self.lease_hosts = Bare(
            engine, update(hosts).where(hosts.c.job_uid == wanted).values(lease_until=until)
        )
        self.carried_locked = Bare(
            engine, select(jobs.c.uid).where(jobs.c.uid == of_uid, carried).with_for_update(read=True)
        )
        self.carry_job = Bare(engine, update(jobs).where(unmoved, carried), JOB_MOVES)
        self.begin_job = Bare(engine, update(jobs).where(unmoved, leased), (*JOB_MOVES, *_CARRIER))
        self.move_job = Bare(engine, update(jobs).where(unmoved), JOB_MOVES)
        component = and_(components.c.key == bindparam("of_component"), components.c.job_uid == of_uid)
        self.follow_job = Bare(engine, update(components).where(component), _FOLLOWING)
        self.move_host = Bare(engine, update(hosts).where(host), HOST_MOVES)
        self.new_job = Bare(engine, dialect.insert(jobs).on_conflict_do_nothing())
        self.new_host = Bare(engine, insert(hosts))
        self.new_tag = Bare(engine, insert(tags))
