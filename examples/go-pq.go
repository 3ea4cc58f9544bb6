// go-pq.go -- a session and its lease, with lib/pq. Ids are int64 and uuid.UUID.
//
//	PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... PGSSLMODE=... go run go-pq.go USER WORKSPACE GATEWAY TTL
//
// Debian: golang-go, golang-github-lib-pq-dev, golang-github-google-uuid-dev. world.sql makes the role and the tables.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"github.com/google/uuid"
	"github.com/lib/pq"
	"log"
	"math/rand"
	"os"
	"strings"
	"time"
)

// The session's row and its lease, both or neither.
func start(db *sql.DB, user, workspace, gateway, ttl int64) (session uuid.UUID, name, config string, err error) {
	tx, err := db.Begin()
	check(err)
	defer tx.Rollback() // does nothing after a commit
	check(tx.QueryRow("INSERT INTO session (user_id, workspace_id) VALUES ($1, $2) RETURNING id", user, workspace).Scan(&session))
	err = tx.QueryRow(`SELECT credential_name, config FROM egress.egress_acquire_credential($1, $2, $3, $4, make_interval(secs => $5))`,
		user, workspace, gateway, session, ttl).Scan(&name, &config)
	if err == nil {
		err = tx.Commit()
	}
	return
}

func main() {
	var user, workspace, gateway, ttl int64
	var wanted, menu string
	fmt.Sscan(strings.Join(os.Args[1:], " "), &user, &workspace, &wanted, &ttl)
	// The parameters of the connection are from the environment. binary_parameters: without it a query takes two messages,
	// and a pooler in transaction mode may send the second one to another connection.
	db, err := sql.Open("postgres", "binary_parameters=yes")
	check(err)
	// the launch menu, as a line: NULL is any number of connections, 0 a full gateway; and of it the gateway that is picked
	check(db.QueryRow(`SELECT string_agg(format('%s (%s)', gateway_name, coalesce(available_connections::text, 'any')), ', '),
		max(egress_gateway_id) FILTER (WHERE gateway_name = $3)
		FROM egress.egress_available_gateways($1, $2)`, user, workspace, wanted).Scan(&menu, &gateway))
	fmt.Println("menu:", menu)
	// when all connections are taken, again after a while, and a longer one; Code is the SQLSTATE
	session, name, config, err := start(db, user, workspace, gateway, ttl)
	var refused *pq.Error
	for wait := 0.1; wait < 100 && errors.As(err, &refused) && refused.Code == "NG004"; wait *= 2 {
		fmt.Println("full: again")
		time.Sleep(time.Duration(wait * (0.5 + rand.Float64()) * float64(time.Second)))
		session, name, config, err = start(db, user, workspace, gateway, ttl)
	}
	check(err)
	fmt.Printf("session %s has %s, and a config of %d characters\n", session, name, len(config))

	// A renewal each third of the ttl, while the session runs: here for a whole one. NULL: too late, or it was ended by hand.
	until := sql.NullTime{Valid: true}
	for i := 0; i < 3 && until.Valid; i++ {
		time.Sleep(time.Duration(ttl) * time.Second / 3)
		check(db.QueryRow("SELECT egress.egress_renew_lease($1, make_interval(secs => $2))", session, ttl).Scan(&until))
		if until.Valid {
			fmt.Println("renewed until", until.Time)
		} else {
			fmt.Println("the lease is over: stop the tunnel")
		}
	}
	_, err = db.Exec("UPDATE session SET status = 'stopped' WHERE id = $1", session) // the trigger of the table ends the lease
	check(err)
	fmt.Println("stopped")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
