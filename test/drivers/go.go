// What doc/drivers.md says of lib/pq.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

const acquire = "SELECT credential_name FROM egress.egress_acquire_credential($1, $2, 1, $3)"
const renew = "SELECT egress.egress_renew_lease($1, $2)"

func says(what string, value any) {
	fmt.Printf("%s: %v\n", what, value)
}

// what a query answers in its first column, or the SQLSTATE of its error
func answer(db *sql.DB, query string, values ...any) any {
	var result any
	err := db.QueryRow(query, values...).Scan(&result)
	var refused *pq.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	if err != nil {
		return err
	}
	return result
}

func open(parameters string) *sql.DB {
	db, err := sql.Open("postgres", parameters)
	if err != nil {
		panic(err)
	}
	return db
}

// four at a time, each with one connection of its own to the pooler, until one of them fails, or for two seconds
func manyTimes(parameters string, session uuid.UUID) any {
	end := time.Now().Add(2 * time.Second)
	results := make(chan any)
	for i := 0; i < 4; i++ {
		db := open(parameters + " port=" + os.Getenv("POOLER_PORT"))
		go func(i int) {
			var result any = "works"
			for n := 0; result == "works" && time.Now().Before(end); n++ {
				// each time another statement
				if value := answer(db, fmt.Sprintf("SELECT $1::text || ' %d %d'", i, n), "x"); value != fmt.Sprintf("x %d %d", i, n) {
					result = "fails"
				}
			}
			results <- result
		}(i)
	}
	var result any = "works"
	for i := 0; i < 4; i++ {
		if one := <-results; one != "works" {
			result = one
		}
	}
	return result
}

func main() {
	db := open("")
	one, two := uuid.New(), uuid.New()
	for _, session := range []uuid.UUID{one, two} {
		if _, err := db.Exec("INSERT INTO session (id, user_id, workspace_id) VALUES ($1, 1, 1)", session); err != nil {
			panic(err)
		}
	}
	says("ids are an int64, nil and a UUID", answer(db, acquire, int64(1), nil, one))
	says("NG004", answer(db, acquire, int64(1), nil, two))
	says("a bigint is", fmt.Sprintf("%T", answer(db, "SELECT egress_gateway_id FROM egress.egress_available_gateways(1)")))
	says("an enum is", fmt.Sprintf("%T", answer(db, "SELECT provider_type FROM egress.egress_available_gateways(1)")))
	var text string
	err := db.QueryRow("SELECT provider_type FROM egress.egress_available_gateways(1)").Scan(&text)
	says("an enum scanned into a string", fmt.Sprint(text, err))
	says("a string is compared with an enum", answer(db,
		"SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = $1", "openvpn"))
	list := `[{"name": "one", "country": "SE"}]`
	says("a list", string(answer(db, "SELECT action::text::bytea FROM egress.egress_sync_gateways(900, $1)", list).([]byte)))
	says("a ttl", fmt.Sprintf("%T", answer(db, renew, one, "90 seconds")))
	says("a ttl as a Duration", answer(db, renew, one, 90*time.Second)) // nanoseconds, taken for seconds
	says("countries and ids by pq.Array", answer(db,
		"SELECT gateway_name FROM egress.egress_acquire_gateway($1, $2, $3, countries => $4, avoid => $5)",
		int64(1), nil, one, pq.Array([]string{"NL"}), pq.Array([]int64{2})))
	var until sql.NullTime
	says("a lease without an end is an error of Scan", db.QueryRow(renew, one, nil).Scan(&until) != nil)
	far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	pq.EnableInfinityTs(time.Unix(0, 0), far)
	err = db.QueryRow(renew, one, nil).Scan(&until)
	says("... with EnableInfinityTs", fmt.Sprint(until.Time.Equal(far), err))
	says("through pgbouncer, binary_parameters=yes", manyTimes("binary_parameters=yes", one))
	says("through pgbouncer, as it is", manyTimes("", one))
	db.Exec("UPDATE session SET status = 'stopped'")
}
