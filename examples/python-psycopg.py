"""python-psycopg.py -- a session and its lease, with psycopg 3

    PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... python3 python-psycopg.py USER WORKSPACE GATEWAY TTL

Debian: python3-psycopg. Ids are int and uuid.UUID, a ttl is a timedelta. world.sql makes the role and the tables.
"""
import random
import sys
import time
import uuid
from datetime import timedelta

import psycopg
from psycopg.rows import namedtuple_row


def start_session(db, user, workspace, gateway_id, ttl):
    """The session's row and its lease, both or neither.

    When all connections are taken, again after a while, and a longer one.
    """
    for attempt in range(10):
        session = uuid.uuid4()
        try:
            with db.transaction():
                db.execute('INSERT INTO session (id, user_id, workspace_id) VALUES (%s, %s, %s)',
                           (session, user, workspace))
                lease = db.execute(
                    'SELECT credential_name, config FROM egress.egress_acquire_credential(%s, %s, %s, %s, %s)',
                    (user, workspace, gateway_id, session, ttl)).fetchone()
            print(f'session {session} has {lease.credential_name}, and a config of {len(lease.config)} characters')
            return session
        except psycopg.Error as error:
            # the SQLSTATE; psycopg has no class for those of egress
            if error.sqlstate != 'NG004' or attempt == 9:
                raise
        print('full: again')
        time.sleep(0.1 * 2 ** attempt * random.uniform(0.5, 1.5))


def main():
    user, workspace, gateway = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ttl = timedelta(seconds=int(sys.argv[4]))

    # The parameters of the connection are those of libpq, from the environment. prepare_threshold: a pooler in transaction
    # mode gives each transaction another connection, on which the statements prepared before are not.
    db = psycopg.connect(autocommit=True, prepare_threshold=None, row_factory=namedtuple_row)

    # the launch menu: None is any number of connections, 0 a full gateway
    menu = db.execute(
        'SELECT egress_gateway_id, gateway_name, available_connections FROM egress.egress_available_gateways(%s, %s)',
        (user, workspace)).fetchall()
    print('menu:', ', '.join(
        f'{row.gateway_name} ({"any" if row.available_connections is None else row.available_connections})' for row in menu))
    picked = next(row for row in menu if row.gateway_name == gateway)

    session = start_session(db, user, workspace, picked.egress_gateway_id, ttl)

    # A renewal each third of the ttl, while the session runs: here for a whole one. None: too late, or it was ended by hand.
    for _ in range(3):
        time.sleep(ttl.total_seconds() / 3)
        until = db.execute('SELECT egress.egress_renew_lease(%s, %s)', (session, ttl)).fetchone()[0]
        if until is None:
            print('the lease is over: stop the tunnel')
            break
        print('renewed until', until)

    # the trigger of the table ends the lease
    db.execute("UPDATE session SET status = 'stopped' WHERE id = %s", (session,))
    print('stopped')


main()
