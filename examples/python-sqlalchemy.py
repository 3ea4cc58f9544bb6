"""python-sqlalchemy.py -- a session and its lease, with SQLAlchemy (1.4 or 2) on psycopg2

    PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... python3 python-sqlalchemy.py USER WORKSPACE GATEWAY TTL

Debian: python3-sqlalchemy, python3-psycopg2. Ids are int and uuid.UUID. world.sql makes the role and the tables.
"""
import random
import sys
import time
import uuid
from datetime import timedelta

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, create_engine, func, select
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.exc import DBAPIError

# what is the application's: the tables of egress are no models of it, and are reached through functions alone
sessions = Table('session', MetaData(), Column('id', UUID(as_uuid=True), primary_key=True), Column('user_id', BigInteger),
                 Column('workspace_id', Integer), Column('status', String))
# the parameters of the connection are those of libpq, from the environment; psycopg2 prepares no statements
engine = create_engine('postgresql+psycopg2://', future=True)


def start_session(user, workspace, gateway_id, ttl):
    """The session's row and its lease, both or neither.

    When all connections are taken, again after a while, and a longer one.
    """
    for attempt in range(10):
        session = uuid.uuid4()
        try:
            with engine.begin() as db:
                db.execute(sessions.insert(), {'id': session, 'user_id': user, 'workspace_id': workspace})
                acquire = func.egress.egress_acquire_credential(user, workspace, gateway_id, session, ttl)
                lease = db.execute(select(acquire.table_valued('credential_name', 'config'))).one()
            print(f'session {session} has {lease.credential_name}, and a config of {len(lease.config)} characters')
            return session
        except DBAPIError as error:
            # orig is the driver's error; diag.sqlstate is the SQLSTATE in psycopg2 and in psycopg 3
            if error.orig.diag.sqlstate != 'NG004' or attempt == 9:
                raise
        print('full: again')
        time.sleep(0.1 * 2 ** attempt * random.uniform(0.5, 1.5))


def main():
    user, workspace, gateway = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ttl = timedelta(seconds=int(sys.argv[4]))

    # the launch menu: None is any number of connections, 0 a full gateway
    with engine.connect() as db:
        menu = db.execute(select(func.egress.egress_available_gateways(user, workspace).table_valued(
            'egress_gateway_id', 'gateway_name', 'available_connections'))).all()
    print('menu:', ', '.join(
        f'{row.gateway_name} ({"any" if row.available_connections is None else row.available_connections})' for row in menu))
    picked = next(row for row in menu if row.gateway_name == gateway)

    session = start_session(user, workspace, picked.egress_gateway_id, ttl)

    # A renewal each third of the ttl, while the session runs: here for a whole one. None: too late, or it was ended
    # by hand. In a transaction of its own: a renewal that is not committed is none.
    for _ in range(3):
        time.sleep(ttl.total_seconds() / 3)
        with engine.begin() as db:
            until = db.scalar(select(func.egress.egress_renew_lease(session, ttl)))
        if until is None:
            print('the lease is over: stop the tunnel')
            break
        print('renewed until', until)

    # the trigger of the table ends the lease
    with engine.begin() as db:
        db.execute(sessions.update().where(sessions.c.id == session).values(status='stopped'))
    print('stopped')


main()
