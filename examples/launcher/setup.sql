-- setup.sql -- what the launcher needs in a database: its own tables, two roles, and something to show
--
--   psql -v ON_ERROR_STOP=1 --single-transaction -d launcher -f setup.sql     as a superuser, in a database without egress
--
-- The first part is what an application has, and how it is attached to egress. The second is a company's egress: two
-- invented providers with made-up hosts, accounts and keys. Everything of the application is in the schema launcher.

CREATE EXTENSION egress;

/* ------------------------------------------------------ the application */

CREATE SCHEMA launcher;

CREATE TABLE launcher.account (
    id    text PRIMARY KEY,
    name  text NOT NULL
);

CREATE TABLE launcher.team_member (
    account_id  text REFERENCES launcher.account ON DELETE CASCADE,
    team        text,
    PRIMARY KEY (account_id, team)
);

CREATE TABLE launcher.workspace (
    id    text PRIMARY KEY,
    name  text NOT NULL
);

-- where it leaves from, a session is told by its acquire; ended_by is NULL while it runs
CREATE TABLE launcher.session (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id    text NOT NULL REFERENCES launcher.account,
    workspace_id  text NOT NULL REFERENCES launcher.workspace,
    gateway       text,
    country       text,
    city          text,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    ended_by      text CHECK (ended_by IN ('user', 'admin', 'expiry')),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX ON launcher.session (account_id);
CREATE INDEX ON launcher.session (id) WHERE ended_at IS NULL;

-- a session that ends gives its connection back, and none is given to a session that is not there
SELECT egress_attach_sessions('launcher.session', 'id', 'NEW.ended_at IS NOT NULL', must_exist => true);
SELECT egress_attach_group_members('launcher.team_member', 'account_id', 'team');

-- the role of the users' part, and that of the administrator's part: neither reads a table of egress
CREATE ROLE launcher_app LOGIN;
SELECT egress_grant_access('launcher_app', 'app');
GRANT USAGE ON SCHEMA launcher TO launcher_app;
GRANT SELECT ON ALL TABLES IN SCHEMA launcher TO launcher_app;
GRANT INSERT, UPDATE ON launcher.session TO launcher_app;

CREATE ROLE launcher_monitor LOGIN;
SELECT egress_grant_access('launcher_monitor', 'monitor');
GRANT USAGE ON SCHEMA launcher TO launcher_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA launcher TO launcher_monitor;
GRANT UPDATE (ended_at, ended_by) ON launcher.session TO launcher_monitor;

/* ---------------------------------------------------- something to show */

INSERT INTO launcher.account VALUES
    ('ana',   'Ana Ribeiro'),
    ('bruno', 'Bruno Keller'),
    ('carla', 'Carla Jensen'),
    ('dan',   'Dan Okafor'),
    ('eva',   'Eva Novák');
INSERT INTO launcher.team_member VALUES ('ana', 'research'), ('carla', 'research'), ('eva', 'research');
INSERT INTO launcher.workspace VALUES ('browser', 'Browser'), ('desktop', 'Desktop'), ('terminal', 'Terminal');

-- ids are those of an empty database: Lanternway is 1, Quillport is 2
INSERT INTO egress_provider (name, provider_type) VALUES ('Lanternway', 'openvpn'), ('Quillport', 'wireguard');

INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT 1, name, country, city, format(E'client\ndev tun\nremote %s.lanternway.example 1194\n', name)
FROM (VALUES
    ('ams-1', 'NL', 'Amsterdam'),
    ('ber-1', 'DE', 'Berlin'),
    ('fra-1', 'DE', 'Frankfurt'),
    ('gva-1', 'CH', 'Geneva'),
    ('mrs-1', 'FR', 'Marseille'),
    ('nyc-1', 'US', 'New York'),
    ('par-1', 'FR', 'Paris'),
    ('sea-1', 'US', 'Seattle'),
    ('zrh-1', 'CH', 'Zurich')) gateway (name, country, city);

INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT 2, name, country, city, format(E'[Interface]\nDNS = 10.64.0.1\n\n[Peer]\nPublicKey = %s\nEndpoint = %s.quillport.example:51820\n'
                                      'AllowedIPs = 0.0.0.0/0, ::/0\n', encode(sha256(convert_to(name, 'UTF8')), 'base64'), name)
FROM (VALUES
    ('frankfurt', 'DE', 'Frankfurt'),
    ('osaka',     'JP', 'Osaka'),
    ('oslo',      'NO', 'Oslo'),
    ('rotterdam', 'NL', 'Rotterdam'),
    ('tokyo',     'JP', 'Tokyo'),
    ('zurich',    'CH', 'Zurich')) gateway (name, country, city);

-- Lanternway is for everyone, Quillport for the team research
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES
    (1, 'everyone', NULL),
    (2, 'group', 'research');

-- Lanternway sells accounts by region, each for so many connections at once
INSERT INTO egress_credential
    (egress_provider_id, name, subject_type, username, password, allow_all_gateways, limit_active_connections, active_connection_limit)
SELECT 1, name, 'everyone', 'corp-' || name, 'made-up-password-' || name, false, true, connections
FROM (VALUES ('alps', 2), ('europe', 6), ('overseas', 3)) credential (name, connections);
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
SELECT egress_credential_id, egress_gateway_id
FROM (VALUES ('alps', '{CH}'::text[]), ('europe', '{DE,FR,NL}'), ('overseas', '{US}')) region (name, countries)
JOIN egress_credential c USING (name)
JOIN egress_gateway g ON g.egress_provider_id = c.egress_provider_id AND g.country = ANY (countries);

-- Quillport sells keys, each for one tunnel to a gateway at a time
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, private_key, address)
SELECT 2, 'key ' || number, 'group', 'research', egress_generate_wireguard_key(), format('10.64.0.%s/32', number + 1)
FROM generate_series(1, 3) number;

-- Sessions of this morning. Without a ttl a lease lasts until somebody ends it. But server.js gives a ttl to all sessions of
-- a user who has a page open, as it renews them.
INSERT INTO launcher.session (account_id, workspace_id, gateway, country, city, started_at)
SELECT account_id, workspace_id, gateway, country, city, now() - minutes * interval '1 minute'
FROM (VALUES
    ('bruno', 'browser',  'zrh-1', 192),
    ('carla', 'browser',  'gva-1', 147),
    ('dan',   'terminal', 'nyc-1', 126),
    ('carla', 'desktop',  'tokyo', 111),
    ('eva',   'desktop',  'tokyo', 96),
    ('dan',   'browser',  'sea-1', 71),
    ('eva',   'browser',  'osaka', 58),
    ('bruno', 'terminal', 'ams-1', 44),
    ('carla', 'terminal', 'tokyo', 31)) morning (account_id, workspace_id, gateway, minutes)
JOIN egress_gateway ON name = gateway;
SELECT count(lease.*) AS sessions_of_this_morning
FROM launcher.session s JOIN egress_gateway g ON g.name = s.gateway,
     egress_acquire_credential(s.account_id, s.workspace_id, g.egress_gateway_id, s.id) lease;
