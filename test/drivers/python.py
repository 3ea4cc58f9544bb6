"""What doc/drivers.md says of psycopg 3, psycopg2 and SQLAlchemy."""
import os
import uuid
import warnings
from datetime import timedelta

import psycopg
import psycopg2.extras
import sqlalchemy
from psycopg.types.json import Json, Jsonb

POOLER = f"port={os.environ['POOLER_PORT']}"
ACQUIRE = 'SELECT config FROM egress.egress_acquire_credential(%s, %s, %s, %s, %s)'
RENEW = 'SELECT egress.egress_renew_lease(%s, %s)'


def says(what, value):
    print(f'{what}: {value}')


def outcome(call):
    """What a call returns, or the class and the SQLSTATE of its error."""
    try:
        return call()
    except (psycopg.Error, psycopg2.Error, sqlalchemy.exc.DBAPIError) as error:
        origin = getattr(error, 'orig', error)
        return f'{type(error).__name__} {origin.diag.sqlstate or str(origin).splitlines()[0]}'


def new_session(db):
    session = uuid.uuid4()
    db.execute('INSERT INTO session (id, user_id, workspace_id) VALUES (%s, 1, 1)', (session,))
    return session


db = psycopg.connect(autocommit=True)
one, two = new_session(db), new_session(db)
says('ids are an int, None and a UUID', len(db.execute(ACQUIRE, (1, None, 1, one, timedelta(minutes=1))).fetchall()))
says('NG004', outcome(lambda: db.execute(ACQUIRE, (1, None, 1, two, None))))
says('an enum is', repr(db.execute('SELECT provider_type FROM egress.egress_available_gateways(1)').fetchone()[0]))
says('a str is compared with an enum', outcome(lambda: db.execute(
    'SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = %s', ('openvpn',)).fetchone()[0]))
SYNC = 'SELECT action FROM egress.egress_sync_gateways(900, %s)'
ENTRIES = [{'name': 'one', 'country': 'SE'}]
says('a list as Json', outcome(lambda: db.execute(SYNC, (Json(ENTRIES),)).fetchone()[0]))
says('a list as Jsonb', outcome(lambda: db.execute(SYNC, (Jsonb(ENTRIES),)).fetchone()[0]))
says('countries as a list', outcome(lambda: db.execute(
    'SELECT gateway_name FROM egress.egress_acquire_gateway(%s, %s, %s, countries => %s, avoid => %s)',
    (1, None, one, ['NL'], [2])).fetchone()[0]))
says('a lease without an end', outcome(lambda: db.execute(RENEW, (one, None)).fetchone()[0]))
says('... as text', outcome(lambda: db.execute(RENEW + '::text', (one, None)).fetchone()[0]))

# a transaction, which NG004 need not end
with db.transaction():
    three = new_session(db)
    try:
        with db.transaction():
            db.execute(ACQUIRE, (1, None, 1, three, None))
    except psycopg.DatabaseError:
        says('after NG004 in a transaction of its own in a transaction', 'the outer one goes on')
says('... and has its row', db.execute('SELECT count(*) FROM session WHERE id = %s', (three,)).fetchone()[0])

# without autocommit the first statement begins a transaction, which nothing ends
lazy = psycopg.connect()
lazy.execute(RENEW, (one, timedelta(hours=1)))
says('without autocommit, a renewal', lazy.info.transaction_status.name)
lazy.close()
says('... and after close() the lease ends', db.execute(
    'SELECT expires_at::text FROM egress.egress_connection WHERE session_id = %s', (str(one),)).fetchone()[0])


def prepared(threshold):
    """Two clients, who share the pooler's connection, each with the same statement again and again."""
    clients = [psycopg.connect(POOLER, autocommit=True, prepare_threshold=threshold) for _ in range(2)]
    for _ in range(10):
        for client in clients:
            client.execute(RENEW, (one, timedelta(minutes=1)))
    return 'works'


says('through pgbouncer, prepare_threshold=None', outcome(lambda: prepared(None)))
says('through pgbouncer, as it is', outcome(lambda: prepared(5)))

print('psycopg2')
old = psycopg2.connect('')
old.autocommit = True


def renew_in_psycopg2(session):
    with old.cursor() as cursor:
        cursor.execute(RENEW, (session, timedelta(minutes=1)))
    return 'works'


says('an id is a UUID', outcome(lambda: renew_in_psycopg2(one)))
says('... as a str', outcome(lambda: renew_in_psycopg2(str(one))))
psycopg2.extras.register_uuid()
says('... after register_uuid()', outcome(lambda: renew_in_psycopg2(one)))
old.close()

# SQLAlchemy
print('SQLAlchemy')
engine = sqlalchemy.create_engine('postgresql+psycopg2://', future=True)
func, select = sqlalchemy.func.egress, sqlalchemy.select


def renew(context, ttl):
    with context as connection:
        return connection.scalar(select(func.egress_renew_lease(one, ttl)))


def ends_at():
    return db.execute('SELECT expires_at FROM egress.egress_connection WHERE session_id = %s', (str(one),)).fetchone()[0]


before = ends_at()
renew(engine.connect(), timedelta(hours=1))
says('a renewal in engine.connect() is kept', ends_at() != before)
renew(engine.begin(), timedelta(hours=1))
says('a renewal in engine.begin() is kept', ends_at() != before)
says('a lease without an end', outcome(lambda: renew(engine.begin(), None)))


def refused():
    with engine.begin() as connection:
        connection.execute(select(func.egress_acquire_credential(1, None, 1, two)))


says('NG004', outcome(refused))
db.execute("UPDATE session SET status = 'stopped'")
