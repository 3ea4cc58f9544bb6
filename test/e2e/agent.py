# agent.py FOLDER -- an agent that stops the tunnels of this host whose lease has ended
#
# FOLDER has a file SESSION.tunnel for each tunnel that runs: the acquired_at of its lease, and the command that stops it, a
# line each. Whoever starts a tunnel writes the file first. The agent listens for egress_lease_ended. It reads who is connected
# when it begins, because what was told before is lost, and then what it is told of. A tunnel stops when egress_connection does
# not have the lease any more: a session may have another one since.
#
# The database is that of libpq's environment; the role needs 'monitor' access.
import json
import pathlib
import select
import subprocess
import sys

import psycopg2

folder = pathlib.Path(sys.argv[1])
connection = psycopg2.connect('')
connection.autocommit = True
cursor = connection.cursor()


def check(session):
    """Stop a session's tunnel, if there is one, unless its lease is live."""
    tunnel = folder / f'{session}.tunnel'
    if not tunnel.exists():
        return
    acquired_at, command = tunnel.read_text().splitlines()
    cursor.execute('SELECT FROM egress_connection WHERE session_id = %s AND acquired_at = %s', (session, acquired_at))
    if cursor.rowcount > 0:
        return
    print(f'{session}: {command}', flush=True)
    subprocess.run(command, shell=True)
    tunnel.unlink()


cursor.execute('LISTEN egress_lease_ended')
for tunnel in folder.glob('*.tunnel'):
    check(tunnel.stem)
print('listening', flush=True)
while True:
    select.select([connection], [], [])
    connection.poll()
    while connection.notifies:
        check(json.loads(connection.notifies.pop(0).payload)['session_id'])
