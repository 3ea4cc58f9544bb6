-- other_worlds.sql -- upon the small world: limits of several sizes, a full pool, a pool that is full but for its last
-- credential, and two menus of 20,000 gateways. The peers' tables hold the same leases.
SET session_replication_role = replica;    -- no foreign key is checked: they hold

-- limits: user limit-I, gateway 1000 + I
CREATE TEMP TABLE limits AS
SELECT * FROM (VALUES (0, 1, 0), (1, 1000, 500), (2, 1000, 990), (3, 100000, 50000), (4, 100000, 99000)) l (i, size, held);
INSERT INTO egress_provider (egress_provider_id, name, provider_type) SELECT 10 + i, 'Limit ' || i, 'openvpn' FROM limits;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config, provider_type)
SELECT 1000 + i, 10 + i, 'gw', 'remote gw.example.net 1194', 'openvpn' FROM limits;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) SELECT 10 + i, 'user', 'limit-' || i FROM limits;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               limit_active_connections, active_connection_limit, provider_type)
SELECT 1000 + i, 10 + i, 'limit ' || i, 'user', 'limit-' || i, 'user', 'secret', true, size, 'openvpn' FROM limits;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'limit-' || i || '-' || slot, 1000 + i, 1000 + i, 'other', now(), slot
FROM limits CROSS JOIN LATERAL (SELECT slot FROM generate_series(1, size) slot ORDER BY random() LIMIT held) s;

-- full: 10 credentials with 5 connections each. pool: 1,000 with 2 each, all held, and one more
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (20, 'Full', 'openvpn'), (21, 'Pool', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config, provider_type)
VALUES (2000, 20, 'gw', 'remote gw.example.net 1194', 'openvpn'), (2100, 21, 'gw', 'remote gw.example.net 1194', 'openvpn');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (20, 'user', 'full'), (21, 'user', 'pool');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               limit_active_connections, active_connection_limit, provider_type)
SELECT 2000 + i, 20, 'full ' || i, 'user'::egress_subject_type, 'full', 'user', 'secret', true, 5,
       'openvpn'::egress_provider_type
FROM generate_series(1, 10) i
UNION ALL
SELECT 3000 + i, 21, 'pool ' || i, 'user', 'pool', 'user', 'secret', true, 2, 'openvpn' FROM generate_series(1, 1001) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'full-' || i || '-' || s, 2000 + i, 2000, 'other', now(), s FROM generate_series(1, 10) i, generate_series(1, 5) s
UNION ALL
SELECT 'pool-' || i || '-' || s, 3000 + i, 2100, 'other', now(), s FROM generate_series(1, 1000) i, generate_series(1, 2) s;

-- wishes: user wish, with 20,000 gateways in 40 countries of ten cities
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (24, 'Wish', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config, provider_type)
SELECT 2400000 + i, 24, 'gw-' || i, 'Country ' || i % 40, 'City ' || i % 400, 'remote gw-' || i || '.example.net 1194', 'openvpn'
FROM generate_series(1, 20000) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (24, 'user', 'wish');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               limit_active_connections, active_connection_limit, provider_type)
VALUES (24000, 24, 'wish', 'user', 'wish', 'user', 'secret', true, 1000, 'openvpn');

-- menus: users menu-all, whose 20 groups have all 20,000 gateways each, and menu-selected, whose 20 have 1,000 each
CREATE TEMP TABLE menus AS SELECT * FROM (VALUES (22, 'all'), (23, 'selected')) m (provider, kind);
INSERT INTO egress_provider (egress_provider_id, name, provider_type) SELECT provider, 'Menu ' || kind, 'openvpn' FROM menus;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config, provider_type)
SELECT provider * 100000 + i, provider, 'gw-' || i, 'Country ' || i % 60, 'City ' || i % 300,
       'remote gw-' || i || '.example.net 1194', 'openvpn'
FROM menus, generate_series(1, 20000) i;
INSERT INTO egress_group_member SELECT 'menu-' || kind, kind || '-' || i FROM menus, generate_series(1, 20) i;
INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, allow_all_gateways)
SELECT provider * 100 + i, provider, 'group', kind || '-' || i, kind = 'all' FROM menus, generate_series(1, 20) i;
INSERT INTO egress_provider_mapping_gateway
SELECT 2301 + i % 20, 2300000 + i, 23 FROM generate_series(1, 20000) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               limit_active_connections, active_connection_limit, provider_type)
SELECT provider * 1000 + i, provider, 'menu ' || i, 'group', kind || '-' || i, 'user', 'secret', true, 10, 'openvpn'
FROM menus, generate_series(1, 20) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'menu-' || kind || '-' || i || '-' || s, provider * 1000 + i, provider * 100000 + i, 'other', now(), s
FROM menus, generate_series(1, 20) i, generate_series(1, 5) s;

INSERT INTO lease SELECT * FROM egress_lease;
