"""What every job needs of the database, as statements that the driver runs by itself (`bare.py` says why)."""

from __future__ import annotations

from sqlalchemy import BindParameter, and_, bindparam, insert, select, update

from penstock.store.bare import Bare
from penstock.store.dialect import Dialect
from penstock.store.rows import HOST_MOVES, JOB_MOVES
from penstock.store.tables import BEGUN, hosts, jobs, tags


class Statements:
    """Jobs are named by `wanted`, or `of_uid` and the version `before` a move; hosts by `of_uid` and `of_name`."""

    def __init__(self, dialect: Dialect) -> None:
        engine = dialect.engine
        wanted: BindParameter[str] = bindparam("wanted")
        of_uid: BindParameter[str] = bindparam("of_uid")
        begun = select(jobs).where(BEGUN).order_by(jobs.c.created_at, jobs.c.name)
        host = and_(hosts.c.job_uid == of_uid, hosts.c.name == bindparam("of_name"))
        unmoved = and_(jobs.c.uid == of_uid, jobs.c.version == bindparam("before"))
        of_begun = hosts.c.job_uid.in_(select(jobs.c.uid).where(BEGUN))
        self.job_by_name = Bare(engine, select(jobs).where(jobs.c.name == wanted))
        self.job_by_uid = Bare(engine, select(jobs).where(jobs.c.uid == wanted))
        self.begun = Bare(engine, begun)
        self.hosts_of_begun = Bare(engine, select(hosts).where(of_begun))
        self.hosts = Bare(engine, select(hosts).where(hosts.c.job_uid == wanted))
        self.host = Bare(engine, select(hosts).where(host))
        self.host_locked = Bare(engine, select(hosts).where(host).with_for_update())
        self.move_job = Bare(engine, update(jobs).where(unmoved), JOB_MOVES)
        self.move_host = Bare(engine, update(hosts).where(host), HOST_MOVES)
        self.new_job = Bare(engine, dialect.insert(jobs).on_conflict_do_nothing())
        self.new_host = Bare(engine, insert(hosts))
        self.new_tag = Bare(engine, insert(tags))
