-- which session it is: the first line of every script
\set session :client_id * 10000000000 + random(1, 1000000000)
