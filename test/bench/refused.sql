-- refused.sql -- an acquire that is refused, without an error for pgbench to stop at
CREATE FUNCTION refused(u text, gateway bigint, session int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM egress_acquire_credential(u, 'workspace', gateway, session::text);
    RAISE EXCEPTION 'there is a connection free';
EXCEPTION WHEN SQLSTATE 'NG004' THEN
    RETURN true;
END $$;
