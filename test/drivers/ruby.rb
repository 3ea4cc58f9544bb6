# What doc/drivers.md says of the gem pg.
require 'pg'
require 'securerandom'
require 'json'
require 'stringio'

ACQUIRE = 'SELECT credential_name FROM egress.egress_acquire_credential($1, $2, 1, $3)'
RENEW = 'SELECT egress.egress_renew_lease($1, $2)'

def says(what, value)
  puts "#{what}: #{value}"
end

# what a query answers in its first column, or the class and the SQLSTATE of its error
def answer(db, sql, *values)
  result = db.exec_params(sql, values)
  result.ntuples == 0 ? nil : result.getvalue(0, 0)
rescue PG::Error => error
  "#{error.class} #{error.result.error_field(PG::PG_DIAG_SQLSTATE)}"
rescue StandardError => error
  error.class
end

plain = PG.connect
mapped = PG.connect
mapped.type_map_for_queries = PG::BasicTypeMapForQueries.new(mapped)
mapped.type_map_for_results = PG::BasicTypeMapForResults.new(mapped)
one, two = [1, 2].map { answer(plain, 'INSERT INTO session (user_id, workspace_id) VALUES (1, 1) RETURNING id') }

{ 'without type maps' => plain, 'with type maps' => mapped }.each do |how, db|
  puts how
  says 'ids are an Integer, nil and a String', answer(db, ACQUIRE, 1, nil, one)
  says 'NG004', answer(db, ACQUIRE, 1, nil, two)
  says 'a bigint is', answer(db, 'SELECT egress_gateway_id FROM egress.egress_available_gateways(1)').class
  says 'available_connections == 0', answer(db, 'SELECT available_connections FROM egress.egress_available_gateways(1)') == 0
  $stderr = StringIO.new
  says 'an enum is', answer(db, 'SELECT provider_type FROM egress.egress_available_gateways(1)').class
  said, $stderr = $stderr.string, STDERR
  says '... and a warning', said.include?('no type cast defined for type "egress_provider_type"')
  says 'a String is compared with an enum', answer(db,
    'SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = $1', 'openvpn')
  says 'countries and ids as arrays', answer(db,
    'SELECT gateway_name FROM egress.egress_acquire_gateway($1, $2, $3, countries => $4, avoid => $5)', 1, nil, one, ['NL'], [2])
  says '... by PG::TextEncoder::Array', answer(db,
    'SELECT gateway_name FROM egress.egress_acquire_gateway($1, $2, $3, countries => $4)',
    1, nil, one, PG::TextEncoder::Array.new.encode(['NL']))
  says 'a list by to_json', answer(db,
    'SELECT action FROM egress.egress_sync_gateways(900, $1)', [{ name: 'one', country: 'SE' }].to_json)
  says 'a renewal is', answer(db, RENEW, one, '90 seconds').class
  says 'a lease without an end', answer(db, RENEW, one, nil)
end

# two clients, who share the pooler's connection, with the same statement
clients = [1, 2].map { PG.connect(port: ENV['POOLER_PORT']) }
says 'through pgbouncer, exec_params', clients.map { |db| answer(db, RENEW, one, '90 seconds').class }.join(', ')
outcomes = clients.map do |db|
  db.prepare('ruby_renew', RENEW)
  db.exec_prepared('ruby_renew', [one, '90 seconds']).getvalue(0, 0).class
rescue PG::Error => error
  error.class
end
says 'through pgbouncer, exec_prepared', outcomes.join(', ')
plain.exec("UPDATE session SET status = 'stopped'")
