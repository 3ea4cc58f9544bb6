# What doc/drivers.md says of ActiveRecord: what Rails writes into schema.rb, what a test suite empties, and its cache.
require 'active_record'
require 'stringio'

ActiveRecord::Schema.verbose = false
$VERBOSE = nil    # it warns of types that it does not know

def connect(database, **options)
  ActiveRecord::Base.establish_connection(adapter: 'postgresql', database: database, **options)
  ActiveRecord::Base.connection
end

def says(what, value)
  puts "#{what}: #{value}"
end

def schema(db)
  out = StringIO.new
  ActiveRecord::SchemaDumper.dump(db, out)
  out.string
end

# loads a schema.rb into a database; where egress is then, or the error
def loaded(text, database)
  db = connect(database)
  eval text
  db.select_value("SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'egress'")
rescue ActiveRecord::StatementInvalid => error
  error.cause.class
end

texts = [%w[together public], %w[apart public], ['apart', 'public, egress']].map do |database, path|
  puts "#{database}, schema_search_path: #{path}"
  db = connect(database, schema_search_path: path)
  text = schema(db)
  says 'tables of egress in schema.rb', text.include?('create_table "egress_')
  says '... that it could not write', text.include?('# Could not dump table "egress_')
  ActiveRecord::SchemaDumper.ignore_tables = [/\Aegress_/]
  says '... with ignore_tables', schema(db).match?(/table "egress_/)
  ActiveRecord::SchemaDumper.ignore_tables = []
  says 'enable_extension', text.include?('enable_extension "egress"')
  text
end
puts 'schema.rb'
says 'of together, in a new database', loaded(texts[0], 'new_one')
says 'of apart, in a new database', loaded(texts[1], 'new_two')
says 'of apart, in one that has egress in its schema', loaded(texts[1], 'new_three')

puts 'a test suite'
%w[together apart].each do |database|
  db = connect(database)
  provider = database == 'apart' ? 'egress.egress_provider' : 'egress_provider'
  db.execute("INSERT INTO #{provider} (name, provider_type) VALUES ('one', 'custom')")
  db.truncate_tables(*db.tables)
  says "#{database}, providers after truncate_tables", db.select_value("SELECT count(*) FROM #{provider}")
end

puts 'the query cache'
db = connect('apart')
calls = lambda do
  2.times { db.select_value("SELECT egress.egress_release_credential('a session')") }
end
count = 0
ActiveSupport::Notifications.subscribe('sql.active_record') do |*, payload|
  count += 1 if payload[:sql].include?('egress_release') && !payload[:cached]
end
db.cache { calls.call }
says 'two calls in it reach the server', count
count = 0
db.cache { db.uncached { calls.call } }
says '... in uncached', count

puts 'through pgbouncer'
class Session < ActiveRecord::Base
  self.table_name = 'session'
end
[false, true].each do |prepared|
  connect('postgres', host: '127.0.0.1', port: ENV['POOLER_PORT'], username: 'workspaces', prepared_statements: prepared, pool: 3)
  # two threads, each with a connection, which share the pooler's
  turn = Queue.new
  outcomes = [1, 2].map do
    thread = Thread.new do
      outcome = begin
        Session.where(status: 'running').to_a
        'works'
      rescue ActiveRecord::StatementInvalid => error
        error.cause.class
      end
      turn.push(outcome)
      sleep
    end
    [turn.pop, thread]
  end
  says "prepared_statements: #{prepared}", outcomes.map(&:first).join(', ')
  outcomes.each { |_, thread| thread.kill.join }
end
