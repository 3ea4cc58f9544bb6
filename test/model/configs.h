/*
 * configs.h -- the configurations that explore.c goes through; Config in model.h says what the fields mean, next_op() in
 * limit.c what the letters of the scripts do
 *
 * Where limits and leases at first are given as a set, each of the set is tried.
 */

/* acquires beside each other */
{"two acquires, a pool of two credentials", {"12: a1 e", "12: a2 e", ":"}, {"012u", "012u"}, "",
	.held = 1, .page_size = MANY},
{"three acquires", {"1: a1 e", "1: a2 c", "1: a3 c"}, {"12", "0"}, "", .held = 0, .page_size = MANY},
{"an acquire, two releases", {"12: a1 e", "12: r4 e", "12: r5 e"}, {"012u", "01"}, "", .held = 2, .page_size = 1},
{"two acquires and a release", {"1: a1 c", "12: a2 c", "1: r4 e"}, {"12", "0"}, "", .held = 1, .page_size = 1},

/* limits that change */
{"an acquire, a release, a changed limit", {"1: a1 c", "1: l1 e", "1: r4 e"}, {"012u", "0"}, "012u",
	.held = 2, .page_size = MANY},
{"the same, entries on pages of their own", {"1: a1 c", "1: l1 c", "1: r4 e"}, {"012u", "0"}, "012u",
	.held = 2, .page_size = 1},
{"two acquires and a changed limit", {"1: a1 c", "1: l1 c", "1: a2 e"}, {"012u", "0"}, "012u",
	.held = 1, .page_size = MANY},
{"a limit changed twice", {"12: a1 e", "1: l1 c l1 e", "1: r4 c"}, {"01u", "1"}, "02u", .held = 2, .page_size = MANY},
{"an acquire under its own change", {"1: l1 a1 e", "1: a2 c", "1: r4 e"}, {"012u", "0"}, "012u",
	.held = 1, .page_size = MANY},

/* savepoints, and what a transaction gives back and takes again */
{"savepoints", {"1: s a1 b/- a1/- e", "1: a2 c", ":"}, {"12u", "0"}, "", .held = 1, .page_size = MANY},
{"a release undone", {"1: s r4 b/- a4/a1 e", "1: a2 c", ":"}, {"012u", "0"}, "", .held = 2, .page_size = MANY},
{"a limit changed and undone", {"1: s l1 a1 b/- a2/- e", "1: a3 c", ":"}, {"01u", "0"}, "012u",
	.held = 1, .page_size = MANY},

/* the same session */
{"one session in two transactions", {"12: a1 r1/- e", "12: a1 e", "12: r1/a2 e"}, {"1u", "1"}, "",
	.held = 0, .page_size = MANY},
{"an acquire and two releases of one session", {"1: r4 a4/- e", "1: r4 e", "1: a4 e"}, {"01u", "0"}, "",
	.held = 1, .page_size = MANY},
{"two sessions in two transactions each", {"1: a1 a2 e", "1: a2 a1 e", ":"}, {"12u", "0"}, "",
	.held = 0, .page_size = MANY},

/* cancelled statements */
{"a cancelled statement", {"1: a1 c", "1: a2 c", ":"}, {"12u", "0"}, "", .held = 1, .page_size = MANY, .kills = 1},
{"a cancelled acquire after a savepoint", {"1: a3/- s a1 b/- e", "1: a2 c", ":"}, {"12", "0"}, "", .held = 0,
	.page_size = MANY, .kills = 1},

/* deletions */
{"a credential is deleted", {"12: a1 e", "1: d1 e", "1: r4 e"}, {"01u", "01"}, "",
	.held = 1, .page_size = MANY, .deletes = true},
{"a credential is changed and deleted", {"12: a1 c", "1: l1/- s d1 b/- e", ":"}, {"1u", "1"}, "2", .held = 1,
	.page_size = MANY, .deletes = true},
{"a gateway is deleted", {"12: a1 e", "1: g e", "1: a2 e"}, {"01u", "1"}, "",
	.held = 0, .page_size = MANY, .deletes = true},
{"a gateway is deleted, a lease released", {"1: a1 c", "1: s g b/- e", "1: r4 e"}, {"12u", "0"}, "",
	.held = 1, .page_size = 1,
	.deletes = true},

/* leases that end by themselves */
{"an expired lease, a renewal", {"1: a1 e", "1: n4 e", ":"}, {"12", "0"}, "",
	.held = 2, .page_size = MANY, .clock = 1},
{"an expired lease, a release or a sweep", {"1: a1 e", "1: x/r4/a4 e", ":"}, {"12", "0"}, "",
	.held = 1, .page_size = MANY, .clock = 1},
{"expired leases, a changed limit", {"1: a1 e", "1: l1 c", ":"}, {"12u", "0"}, "012",
	.held = 2, .page_size = MANY, .clock = 1},
{"an expired lease and two who want it", {"1: a1 e", "1: a2 e", ":"}, {"12", "0"}, "",
	.held = 1, .page_size = MANY, .clock = 1},
{"a time to live", {"1: A1 n1/- e", "1: a2 e", ":"}, {"12", "0"}, "", .held = 1, .page_size = MANY, .clock = 1},
{"an expired lease taken over and undone", {"1: s a1 b e", "1: n4/a4 c", ":"}, {"1", "0"}, "",
	.held = 1, .page_size = MANY, .clock = 1},

/* more of the same, for EGRESS_TEST_ALL */
{"three acquires, a pool of two credentials", {"12: a1 e", "12: a2 e", "1: a3 e"}, {"12u", "01"}, "",
	.held = 0, .page_size = MANY, .all = true},
{"three acquires beside a lease", {"1: a1 e", "1: a2 e", "1: a3 c"}, {"12u", "0"}, "",
	.held = 1, .page_size = MANY, .all = true},
{"two acquires and a release, a pool", {"12: a1 c", "12: a2 c", "1: r4 e"}, {"12", "01"}, "",
	.held = 2, .page_size = 1, .all = true},
{"two acquires, a changed limit, many leases", {"12: a1 e", "1: l1 e", "1: a2 e"}, {"012u", "01"}, "012u",
	.held = 2, .page_size = MANY, .all = true},
{"a release undone, a changed limit", {"1: s r4 b/- a4/a1 e", "1: a2 c", "1: l1 c"}, {"12", "0"}, "1u",
	.held = 1, .page_size = MANY, .all = true},
{"savepoints and a release", {"1: s a1 b/- a1/- e", "1: a2 c", "1: r4 e"}, {"12u", "0"}, "",
	.held = 1, .page_size = MANY, .all = true},
{"a cancelled statement beside two others", {"1: a1 c", "1: a2 c", "1: l1 c"}, {"01", "0"}, "02u",
	.held = 1, .page_size = MANY, .kills = 1, .all = true},
{"a credential is changed and deleted, two acquires", {"12: a1 c", "1: l1/- s d1 b/- e", "12: a2 e"}, {"1u", "1"}, "2",
	.held = 0,
	.page_size = MANY, .deletes = true, .all = true},
{"two expired leases, a release or a sweep", {"1: a1 e", "1: x/r4/a4 e", ":"}, {"12", "0"}, "",
	.held = 2, .page_size = MANY, .clock = 1,
	.all = true},
{"two expired leases and two who want them", {"1: a1 e", "1: a2 e", ":"}, {"12", "0"}, "",
	.held = 2, .page_size = MANY, .clock = 1,
	.all = true},
{"an expired lease, a renewal, two who want it", {"1: a1 e", "1: n4 e", "1: a2 c"}, {"12", "0"}, "",
	.held = 1, .page_size = MANY, .clock = 1, .all = true},
{"an expired lease, a release or a sweep, an acquire", {"1: a1 e", "1: x e", "1: r4/a4 e"}, {"1", "0"}, "",
	.held = 1, .page_size = MANY, .clock = 1, .all = true},
{"expired leases, a changed limit, a release", {"1: a1 e", "1: l1 c", "1: n4/r5 e"}, {"12u", "0"}, "012",
	.held = 2, .page_size = MANY, .clock = 1, .all = true},

/* a big pool, of which the index is used */
{"a pool, two acquires", {"12: a1 e", "1: a2 e", ":"}, {"012", "01"}, "", .held = 1, .page_size = MANY, .pool = true},
{"a pool, an acquire, two releases", {"1: a1 e", "1: r4 e", "1: r5 e"}, {"12", "0"}, "",
	.held = 2, .page_size = 1, .pool = true},
{"a pool, an acquire, a changed limit", {"1: a1 e", "1: l1 e", ":"}, {"012u", "0"}, "012u",
	.held = 2, .page_size = 1, .pool = true},
{"a pool, an acquire under its own change", {"1: s l1 a1/- b/- e", "1: a2 e", ":"}, {"12", "0"}, "012u",
	.held = 2, .page_size = MANY, .pool = true},
{"a pool, an acquire, a renewal", {"1: a1 e", "1: n4 e n4 e", ":"}, {"12", "0"}, "",
	.held = 2, .page_size = MANY, .clock = 1, .pool = true, .ends = "al-"},
{"a pool, an acquire after its own renewal", {"1: n4 a1 e", "1: n5/r5/- e", ":"}, {"12", "0"}, "",
	.held = 2, .page_size = MANY, .clock = 2, .pool = true, .ends = "al-"},
{"a pool, own leases", {"12: a1 a2 a3 e a5 e", "1: a4 e", ":"}, {"12", "12u"}, "",
	.held = 0, .page_size = MANY, .pool = true},
{"a pool, own leases after a savepoint", {"12: a1/- s a2 a3 b/- a4/- e", "1: a5 e", ":"}, {"12", "12u"}, "",
	.held = 0, .page_size = MANY, .pool = true},
{"a pool, own leases with an end", {"12: a1 a2 A3 e", ":", ":"}, {"2", "2u"}, "",
	.held = 1, .page_size = MANY, .clock = 2, .pool = true, .ends = "al-"},
{"a pool, own leases and a release", {"12: a1 a2 a3 e", "1: r4 e", ":"}, {"2", "2u"}, "",
	.held = 1, .page_size = MANY, .pool = true},
