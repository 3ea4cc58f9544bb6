"""What doc/drivers.md says of Alembic: what its autogenerate makes of a database with egress."""
import warnings

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

# of types and indexes that it does not know
warnings.simplefilter('ignore', sqlalchemy.exc.SAWarning)

# the application's models
models = sqlalchemy.MetaData()
for name in 'person', 'session':
    sqlalchemy.Table(name, models, sqlalchemy.Column('id', sqlalchemy.dialects.postgresql.UUID, primary_key=True))


def ours(name, type_, parent_names):
    """For env.py: context.configure(..., include_name=ours)"""
    return not (type_ == 'table' and name.startswith('egress_') or type_ == 'schema' and name == 'egress')


def drops(connection, **options):
    return [change[1] for change in compare_metadata(MigrationContext.configure(connection, opts=options), models)
            if change[0] == 'remove_table']


for database in 'together', 'apart':
    print(database)
    with sqlalchemy.create_engine(f'postgresql+psycopg2:///{database}', future=True).connect() as connection:
        tables = drops(connection)
        print('it would drop tables of egress:', len(tables) > 0)
        print('... with include_name:', len(drops(connection, include_name=ours)) > 0)
        print('... with include_schemas:', len(drops(connection, include_schemas=True)) > 0)
        print('... with both:', len(drops(connection, include_schemas=True, include_name=ours)) > 0)
        if tables:
            try:
                Operations(MigrationContext.configure(connection)).drop_table(tables[0].name)
                print('it can')
            except sqlalchemy.exc.DBAPIError as error:
                print('it cannot:', error.orig.pgcode)
