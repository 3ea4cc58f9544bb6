# ruby-pg.rb -- a session and its lease, with the gem pg
#
#   PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... ruby ruby-pg.rb USER WORKSPACE GATEWAY TTL
#
# Debian: ruby-pg. Ids are Integer and String. world.sql makes the role and the tables.
require 'pg'
require 'securerandom'

user, workspace, gateway, ttl = Integer(ARGV[0]), Integer(ARGV[1]), ARGV[2], Integer(ARGV[3])
$stdout.sync = true

# The parameters of the connection are those of libpq, from the environment. exec_params prepares nothing that a pooler in
# transaction mode would miss.
DB = PG.connect
# parameters and results of PostgreSQL's own types are Ruby's: without these all are strings
DB.type_map_for_queries = PG::BasicTypeMapForQueries.new(DB)
DB.type_map_for_results = PG::BasicTypeMapForResults.new(DB)

# The session's row and its lease, both or neither. When all connections are taken, again after a while, and a longer one.
def start_session(user, workspace, gateway_id, ttl)
  attempt = 0
  begin
    session = SecureRandom.uuid
    lease = DB.transaction do
      DB.exec_params('INSERT INTO session (id, user_id, workspace_id) VALUES ($1, $2, $3)', [session, user, workspace])
      DB.exec_params('SELECT credential_name, config
                      FROM egress.egress_acquire_credential($1, $2, $3, $4, make_interval(secs => $5))',
                     [user, workspace, gateway_id, session, ttl]).first
    end
    puts "session #{session} has #{lease['credential_name']}, and a config of #{lease['config'].length} characters"
    session
  rescue PG::ServerError => error
    # the SQLSTATE
    raise if error.result.error_field(PG::PG_DIAG_SQLSTATE) != 'NG004' || attempt == 9
    puts 'full: again'
    sleep 0.1 * 2**attempt * rand(0.5..1.5)
    attempt += 1
    retry
  end
end

# the launch menu: nil is any number of connections, 0 a full gateway
menu = DB.exec_params('SELECT egress_gateway_id, gateway_name, available_connections
                       FROM egress.egress_available_gateways($1, $2)', [user, workspace]).to_a
puts 'menu: ' + menu.map { |row| "#{row['gateway_name']} (#{row['available_connections'] || 'any'})" }.join(', ')
picked = menu.find { |row| row['gateway_name'] == gateway }

session = start_session(user, workspace, picked['egress_gateway_id'], ttl)

# A renewal each third of the ttl, while the session runs: here for a whole one. nil: too late, or it was ended by hand.
3.times do
  sleep ttl / 3.0
  till = DB.exec_params('SELECT egress.egress_renew_lease($1, make_interval(secs => $2))', [session, ttl]).getvalue(0, 0)
  if till.nil?
    puts 'the lease is over: stop the tunnel'
    break
  end
  puts "renewed until #{till}"
end

# the trigger of the table ends the lease
DB.exec_params("UPDATE session SET status = 'stopped' WHERE id = $1", [session])
puts 'stopped'
