/*
 * explore.c -- goes through every interleaving of a configuration
 *
 *	limit [--all]							the short configurations, or all; then every mutation of the protocol (model.h), against
 *											the configuration that is known to catch it
 *	limit CONFIGURATION...					these, as configs.h names them
 *	limit --mutant NAME [CONFIGURATION]		one mutation
 *
 * Prints TAP. A state is visited once, and known again by 128 bits of hash; what follows from it is tried for each
 * connection that can go on, each choice that it has (a random slot, an alternative of its script), and, where the
 * configuration says so, for a cancelled statement and for time that passes. The interleavings are counted, not walked: those
 * from a state on are the sum of those from the states that follow. A state that follows from itself is a livelock.
 *
 * A violation is shown by its shortest trace, that of a mutation too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

State	   *m;
Proc	   *p;
int			self;
const Config *config;
byte		fitting[PROCS];
byte		group_of[PROCS];
bool		is_user[PROCS];
bool		session_shared[SESSIONS];
bool		tracing;
int			mutant;

#define MANY ROWS				/* a page holds all entries */

static const Config configs[] = {
#include "configs.h"
};
#define NCONFIGS ((int) (sizeof(configs) / sizeof(configs[0])))

/* the mutations, and the configuration that catches each */
#define MUTANT(name, catcher) {#name, catcher},
static const struct
{
	const char *name;
	const char *catcher;
} mutants[] = {{"none", ""}, MUTANTS(MUTANT)};
#undef MUTANT

static char found[200];			/* the violation, if there is one */

/* violation -- a promise is broken; the first one counts */
void
violation(const char *format,...)
{
	va_list		args;

	if (found[0])
		return;
	va_start(args, format);
	vsnprintf(found, sizeof(found), format, args);
	va_end(args);
}

/* say -- a line of the trace */
void
say(const char *format,...)
{
	va_list		args;

	printf("#   connection %d  ", self + 1);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/*
 * Choices: a move is played once for each combination of what choose() may answer in it.
 */
#define MAX_CHOICES	6

/* A move: the next step of a connection, the cancelling of its statement, or that time passes. */
#define STEP_OF		0			/* + connection */
#define CANCEL_OF	PROCS		/* + connection */
#define TIME		(2 * PROCS)
#define MOVES		(2 * PROCS + 1)

typedef struct Move
{
	byte		what;
	byte		nchoices;
	byte		choices[MAX_CHOICES];
	byte		ways[MAX_CHOICES];	/* of how many */
} Move;

/* where a script is that is over */
#define OVER		0xFF

static Move *playing;			/* whose choices are asked for */
static int	asked;

/* choose -- one of n */
int
choose(int n)
{
	if (n <= 1)
		return 0;
	if (asked == MAX_CHOICES)
		abort();
	if (asked == playing->nchoices)
		playing->choices[playing->nchoices++] = 0;
	playing->ways[asked] = n;
	return playing->choices[asked++];
}

/* next_choices -- let a move that was played choose otherwise; false when it has chosen all */
static bool
next_choices(Move *move)
{
	while (move->nchoices > 0)
	{
		if (++move->choices[move->nchoices - 1] < move->ways[move->nchoices - 1])
			return true;
		move->nchoices--;
	}
	return false;
}

/* aged -- what an end is when time has passed */
static byte
aged(byte end)
{
	return end == END_LATER || end == END_AHEAD ? end + 1 : end;
}

/* end_named -- an end that a configuration names */
int
end_named(char name)
{
	return name == 'a' ? END_AHEAD : name == 'l' ? END_LATER : END_NONE;
}

/* time_passes -- leases with an end ahead have expired */
static void
time_passes(void)
{
	m->clock--;
	for (int i = 0; i < ROWS; i++)
	{
		if ((m->rows[i].cooling || (m->rows[i].end == END_PAST && config->cool)) && m->rows[i].age < COOL_DOWNS - 1)
			m->rows[i].age++;
		m->rows[i].end = aged(m->rows[i].end);
		m->rows[i].renewed_end = aged(m->rows[i].renewed_end);
	}
	for (int c = 1; c <= CREDENTIALS; c++)
		for (int g = 0; g < GROUPS; g++)
			m->entries[g][c].wake = aged(m->entries[g][c].wake);
	for (int proc = 0; proc < PROCS; proc++)
	{
		m->procs[proc].wake = aged(m->procs[proc].wake);
		m->procs[proc].age += m->procs[proc].ending;
	}
	if (tracing)
	{
		printf("#   time passes");
		if (config->clock)
			printf(": leases with an end%s have expired", config->ends ? " ahead" : "");
		printf("\n");
	}
}

/* is_possible -- may a move be one in the state m? */
static bool
is_possible(int what)
{
	return what == TIME ? m->clock > 0 : m->procs[what % PROCS].at != OVER && (what < CANCEL_OF || m->kills > 0);
}

/* play -- make a move in the state m; false when it is not possible there */
static bool
play(Move *move)
{
	Result		result;

	playing = move;
	asked = 0;
	self = move->what % PROCS;
	p = &m->procs[self];
	if (!is_possible(move->what))
		return false;
	if (move->what == TIME)
	{
		time_passes();
		promises_hold();
		return true;
	}
	if (move->what >= CANCEL_OF)
	{
		if (!in_statement(self))
			return false;
		m->kills--;
		p->killed = true;
	}
	result = step();
	if (result == BLOCKED)
		return false;
	if (result == DONE)
	{
		byte		serial = p->serial[0];

		memset(p, 0, sizeof(*p));
		p->at = OVER;
		/* whoever waits for its last transaction learns by that that it is over */
		p->serial[0] = serial;
	}
	promises_hold();
	return true;
}

/* is_over -- has every connection come to the end of its script? */
static bool
is_over(void)
{
	for (int proc = 0; proc < PROCS; proc++)
		if (m->procs[proc].at != OVER)
			return false;
	return true;
}

/* use -- make a configuration the present one */
static void
use(const Config *what)
{
	config = what;
	memset(fitting, 0, sizeof(fitting));
	memset(group_of, 0, sizeof(group_of));
	memset(is_user, 0, sizeof(is_user));
	memset(session_shared, 0, sizeof(session_shared));
	for (int proc = 0; proc < PROCS; proc++)
	{
		const char *script = what->scripts[proc];

		for (; script && *script != ':'; script++)
			if (*script == 'B')
				group_of[proc] = 1;
			else if (*script == 'U')
				is_user[proc] = true;
			else
				fitting[proc] |= 1 << (*script - '0');
		for (int s = 1; script && s < SESSIONS; s++)
			for (int other = 0; other < PROCS; other++)
				if (other != proc && what->scripts[other])
				{
					char		id[2] = {'0' + s, 0};

					session_shared[s] |= strstr(script, id) && strstr(strchr(what->scripts[other], ':'), id);
				}
	}
	if (what->clock)
		memset(session_shared, 1, sizeof(session_shared));
}

/*
 * connections_are_left -- when all is over: does everybody get what should be free, and nobody more?
 *
 * Three sessions acquire one after the other, one of them at gateway 2; where there is a user with a limit, three of the user's then.
 */
static void
connections_are_left(const State *end, bool of_user)
{
	static const char *const scripts[GROUPS][CREDENTIALS] = {{"1: a6 c o7 c a8 c", "2: a6 c o7 c a8 c"},
	{"B1: a6 c o7 c a8 c", "B2: a6 c o7 c a8 c"}};
	static const char *const scripts_of_user[CREDENTIALS] = {"1U: a6 c o7 c a8 c", "2U: a6 c o7 c a8 c"};
	static const byte gateways[] = {1, 2, 1};
	const Config *before = config;
	State		state;

	for (int c = 1; c <= CREDENTIALS; c++)
	{
		Config		alone = *before;
		Move		move = {0};
		int			had;
		int			left;

		state = *end;
		m = &state;
		memset(alone.scripts, 0, sizeof(alone.scripts));
		alone.scripts[0] = of_user ? scripts_of_user[c - 1] : scripts[state.objects[c].group][c - 1];
		use(&alone);
		left = connections_left(c, gateways, 3, of_user);
		memset(&m->procs[0], 0, sizeof(Proc));
		do
			move.nchoices = 0;
		while (play(&move) && m->procs[0].at != OVER);
		had = m->expected[6] + m->expected[7] + m->expected[8];
		if (had != left || m->procs[0].at != OVER)
			violation("LEAK: when all is over, %d connections of credential %d should be free, and are %d", left, c, had);
	}
	use(before);
	if (config->user_limits && !of_user)
		connections_are_left(end, true);
}

/*
 * Deadlocks. Transactions of the same session may wait for each other; PostgreSQL's detector then ends one of them. A
 * deadlock that has a short lock in it must not be.
 */

/* deadlock -- nobody can go on in the state m: let one more statement be cancelled */
static void
deadlock(void)
{
	for (int proc = 0; proc < PROCS; proc++)
		if (waits_for_lock(proc))
			violation("NOBODY WAITS: a deadlock with short locks");
	m->kills++;
}

/*
 * Known states: by hash, with how many interleavings follow.
 */
typedef struct Known
{
	uint64_t	hash[2];
	double		number;			/* UNFINISHED: what follows is being tried */
} Known;

#define UNFINISHED	(-1.0)

static Known *known;
static uint64_t known_size;
static uint64_t known_count;

/* mix_a, mix_b -- add a word to 64 of the bits of a hash, in two ways */
static inline void
mix_a(uint64_t *a, uint64_t word)
{
	*a = (*a ^ word) * 0xFF51AFD7ED558CCDu;
	*a ^= *a >> 32;
}

static inline void
mix_b(uint64_t *b, uint64_t word)
{
	*b = (*b + word) * 0xC4CEB9FE1A85EC53u;
	*b ^= *b >> 29;
}

/* so many words are taken at once, as they do not have to wait for each other */
#define LANES	4

/* hash -- 128 bits of a state */
static void
hash(const State *state, uint64_t result[2])
{
	const byte *bytes = (const byte *) state;
	uint64_t	a[LANES] = {1, 2, 3, 4};
	uint64_t	b[LANES] = {5, 6, 7, 8};
	uint64_t	words[LANES];

	for (size_t i = 0; i < sizeof(State); i += sizeof(words))
	{
		if (sizeof(State) - i < sizeof(words))
			memset(words, 0, sizeof(words));
		memcpy(words, bytes + i, sizeof(State) - i < sizeof(words) ? sizeof(State) - i : sizeof(words));
		for (int lane = 0; lane < LANES; lane++)
		{
			mix_a(&a[lane], words[lane]);
			mix_b(&b[lane], words[lane]);
		}
	}
	for (int lane = 1; lane < LANES; lane++)
	{
		mix_a(&a[0], a[lane]);
		mix_b(&b[0], b[lane]);
	}
	result[0] = a[0] ^ b[0] >> 7 ? a[0] ^ b[0] >> 7 : 1;
	result[1] = b[0] * 0x9E3779B97F4A7C15u + a[0];
}

/* know -- the place of a state among the known ones; a new one has hash 0 there */
static Known *
know(const uint64_t of[2])
{
	uint64_t	i = of[0] & (known_size - 1);

	while (known[i].hash[0] && (known[i].hash[0] != of[0] || known[i].hash[1] != of[1]))
		i = (i + 1) & (known_size - 1);
	return &known[i];
}

/* forget_all, add -- the set of known states */
static void
forget_all(void)
{
	free(known);
	known_size = 1 << 16;
	known_count = 0;
	known = calloc(known_size, sizeof(Known));
}

static void
add(const uint64_t of[2], double number)
{
	Known	   *place;

	if (known_count * 3 > known_size * 2)
	{
		Known	   *old = known;
		uint64_t	size = known_size;

		known_size *= 2;
		known = calloc(known_size, sizeof(Known));
		if (known == NULL)
		{
			perror("limit");
			exit(2);
		}
		for (uint64_t i = 0; i < size; i++)
			if (old[i].hash[0])
				*know(old[i].hash) = old[i];
		free(old);
	}
	place = know(of);
	memcpy(place->hash, of, sizeof(place->hash));
	place->number = number;
	known_count++;
}

/*
 * Telling how a violation comes about. A node is a state that was reached; its hash alone is known, and the move that led there.
 */
typedef struct Node
{
	uint32_t	from;			/* a node; a start, where the move is MOVES */
	Move		move;
} Node;

static Node *nodes;
static uint32_t node_count;
static uint32_t node_size;

/* limit_name -- a limit, for people */
static const char *
limit_name(int limit)
{
	static const char *const names[] = {"0", "1", "2", "none"};

	return names[limit];
}

/* tell -- print what happens from a start on; at_end: when all is over, something is wrong */
static void
tell(const State *start, Move *moves, int n, bool at_end)
{
	static const char *const cool_downs[COOL_DOWNS] = {"none", "short", "long"};
	State		state = *start;
	char		what[sizeof(found)];

	memcpy(what, found, sizeof(found));
	m = &state;
	for (int c = 1; c <= CREDENTIALS; c++)
		printf("#   limit of credential %d: %s\n", c, limit_name(m->objects[c].limit));
	if (config->cool)
		for (int c = 1; c <= CREDENTIALS; c++)
			printf("#   cool_down of credential %d: %s\n", c, cool_downs[m->objects[c].cool]);
	if (config->user_limits)
		printf("#   limit of the user: %s\n", limit_name(m->objects[USER].limit));
	if (config->once)
		printf("#   credential 1 is%s once per gateway\n", m->objects[1].once ? "" : " not");
	for (int i = 0; i < ROWS; i++)
		if (m->rows[i].xmin)
			printf("#   %s %d %s credential %d at gateway %d, slot %s%s%s%s\n",
				   m->rows[i].cooling ? "since time passed so often:" : "session",
				   m->rows[i].cooling ? m->rows[i].age : m->rows[i].session,
				   m->rows[i].cooling ? "a connection cools down of" : "has a lease of",
				   m->rows[i].credential, m->rows[i].gateway,
				   m->rows[i].slot == SLOT_NONE ? "none" :
				   m->rows[i].slot >= SLOT_HIGH ? "above any limit" : limit_name(m->rows[i].slot),
				   m->rows[i].end == END_AHEAD ? ", with an end" : m->rows[i].end == END_LATER ? ", with a later end" : "",
				   m->rows[i].user ? ", of the user, slot " : "",
				   !m->rows[i].user ? "" : m->rows[i].user_slot == SLOT_NONE ? "none" : limit_name(m->rows[i].user_slot));
	if (m->entries[0][1].state == POOL_FULL)
		printf("#   the entry of credential 1 is FULL %s\n",
			   m->entries[0][1].wake == END_NONE ? "for ever" : "until the first of these ends");
	tracing = true;
	for (int i = 0; i < n; i++)
	{
		if (moves[i].what >= CANCEL_OF && moves[i].what != TIME && m->kills == 0)
			m->kills = 1;
		(void) play(&moves[i]);
	}
	tracing = false;
	if (at_end)
		printf("#   all is over\n");
	memcpy(found, what, sizeof(found));
	printf("#   %s\n", found);
}

/* tell_node -- print how a node, and then a last move, if one is given, is reached; returns how many steps that are */
static int
tell_node(const State *starts, uint32_t node, const Move *last)
{
	int			n = last != NULL;
	int			i;
	uint32_t	start;
	Move	   *moves;

	for (start = node; nodes[start].move.what != MOVES; start = nodes[start].from)
		n++;
	moves = calloc(n, sizeof(Move));
	i = n;
	if (last)
		moves[--i] = *last;
	for (; i > 0; node = nodes[node].from)
		moves[--i] = nodes[node].move;
	tell(&starts[nodes[start].from], moves, n, last == NULL);
	free(moves);
	return n;
}

/*
 * Depth first: every state, every interleaving counted.
 */

#define DEEPEST 10000

static Move path[DEEPEST];
static State states[DEEPEST + 1];	/* the one before each move of the path, and the one after the last */
static int	depth;
static int	path_length;	/* when it was a livelock */

/* follow -- how many interleavings there are from a state on; stops where a promise is broken */
static double
follow(const State *state)
{
	uint64_t	id[2];
	double		number = 0;
	bool		stuck = true;
	State	   *start = &states[depth];
	State	   *next = &states[depth + 1];
	Known	   *place;

	hash(state, id);
	place = know(id);
	if (place->hash[0])
	{
		if (place->number == UNFINISHED)
		{
			violation("a livelock: this state follows from itself");
			path_length = depth;
		}
		return place->number;
	}
	add(id, UNFINISHED);

	if (state != start)
		*start = *state;
	m = start;
	if (is_over())
	{
		promises_hold_at_the_end();
		connections_are_left(start, false);
		know(id)->number = 1;
		return 1;
	}
	for (int round = 0; round < 2 && stuck && !found[0]; round++)
	{
		for (int what = 0; what < MOVES && !found[0]; what++)
		{
			Move		move = {.what = what};

			m = start;
			if (!is_possible(what))
				continue;
			do
			{
				*next = *start;
				m = next;
				if (!play(&move))
					continue;
				stuck &= what == TIME || (round == 0 && what >= CANCEL_OF);
				if (!found[0])
				{
					path[depth++] = move;
					number += follow(next);
					depth--;
				}
			} while (next_choices(&move) && !found[0]);
		}
		if (stuck)
		{
			m = start;
			if (round == 0)
				deadlock();
			else
				violation("nobody can go on");
		}
	}
	know(id)->number = number;
	return number;
}

/*
 * Breadth first: the shortest trace to a violation.
 */
typedef struct Wave
{
	State	   *states;
	uint32_t   *nodes;
	uint32_t	count;
	uint32_t	size;
} Wave;

/* append -- a state at the next distance from the start, and how it was reached */
static void
append(Wave *wave, const State *state, uint32_t from, const Move *move)
{
	if (node_count == node_size)
	{
		node_size = node_size ? node_size * 2 : 1024;
		nodes = realloc(nodes, node_size * sizeof(Node));
	}
	if (wave->count == wave->size)
	{
		wave->size = wave->size ? wave->size * 2 : 1024;
		wave->states = realloc(wave->states, wave->size * sizeof(State));
		wave->nodes = realloc(wave->nodes, wave->size * sizeof(uint32_t));
	}
	nodes[node_count] = (Node) {from, *move};
	wave->states[wave->count] = *state;
	wave->nodes[wave->count++] = node_count++;
}

/* search -- the shortest trace to a violation of a configuration; prints it, and returns its length, 0 for none */
static int
search(const State *starts, int nstarts)
{
	Wave		wave = {0};
	Wave		next_wave = {0};
	Move		origin = {.what = MOVES};
	int			length = 0;

	forget_all();
	node_count = 0;
	for (int i = 0; i < nstarts; i++)
		append(&wave, &starts[i], i, &origin);
	while (wave.count && !length)
	{
		next_wave.count = 0;
		for (uint32_t i = 0; i < wave.count && !length; i++)
		{
			bool		stuck = true;
			State		start = wave.states[i];

			m = &start;
			if (is_over())
			{
				promises_hold_at_the_end();
				connections_are_left(&wave.states[i], false);
				if (found[0])
					length = tell_node(starts, wave.nodes[i], NULL);
				continue;
			}
			for (int round = 0; round < 2 && stuck && !length; round++)
			{
				for (int what = 0; what < MOVES && !length; what++)
				{
					Move		move = {.what = what};

					m = &start;
					if (!is_possible(what))
						continue;
					do
					{
						State		next = start;
						uint64_t	id[2];

						m = &next;
						if (!play(&move))
							continue;
						stuck &= what == TIME || (round == 0 && what >= CANCEL_OF);
						if (found[0])
						{
							length = tell_node(starts, wave.nodes[i], &move);
							break;
						}
						hash(&next, id);
						if (know(id)->hash[0])
							continue;
						add(id, 0);
						append(&next_wave, &next, wave.nodes[i], &move);
					} while (next_choices(&move));
				}
				m = &start;
				if (stuck && round == 0 && !length)
				{
					Move		none = {.what = TIME};

					deadlock();
					if (found[0])
						length = tell_node(starts, wave.nodes[i], &none);
				}
			}
		}
		Wave		swap = wave;

		wave = next_wave;
		next_wave = swap;
	}
	free(wave.states);
	free(wave.nodes);
	free(next_wave.states);
	free(next_wave.nodes);
	return length;
}

/*
 * Where a configuration begins.
 */
#define MAX_STARTS	1024

static State starts[MAX_STARTS];
static int	nstarts;

/* add_start -- one more: limits, and up to two leases of credential 1; full: its entry is FULL, if it is */
static void
add_start(int limit1, int limit2, const int slots[2], const int ends[2], bool full)
{
	State	   *state = &starts[nstarts++];
	int			n = 0;

	memset(state, 0, sizeof(*state));
	state->objects[1].limit = limit1;
	state->objects[2].limit = limit2;
	for (int i = 0; i < 2; i++)
		if (slots[i])
		{
			Row		   *row = &state->rows[n++];

			row->credential = 1;
			row->gateway = 1;
			row->slot = slots[i];
			row->session = 4 + i;
			row->xmin = COMMITTED;
			row->entries = ENTRY_SESSION | ENTRY_SLOT | ENTRY_GATEWAY;
			if (config->clock && ends[i] != END_NONE)
			{
				row->end = ends[i];
				row->end_xmin = COMMITTED;
			}
			state->expected[4 + i] = 1;
		}
	if (full)
	{
		state->entries[0][1].state = POOL_FULL;
		for (int i = 0; i < n; i++)
			if (state->rows[i].end > state->entries[0][1].wake)
				state->entries[0][1].wake = state->rows[i].end;
	}
	state->clock = config->clock + config->cool_clock;
	state->kills = config->kills;
	state->possible = 1;
	state->user_possible = 1;
}

/* add_starts -- with each end of the leases, and each entry of credential 1 that is right */
static void
add_starts(int limit1, int limit2, const int slots[2])
{
	const char *names = config->ends ? config->ends : "a";
	bool		full = config->pool && limit1 != NO_LIMIT;

	for (int slot = 1; slot <= limit1; slot++)
		full &= slots[0] == slot || slots[1] == slot;
	for (const char *a = names; *a; a++)
		for (const char *b = names; *b; b++)
		{
			int			ends[2] = {end_named(*a), end_named(*b)};

			if ((!slots[0] && a != names) || (!slots[1] && b != names))
				continue;
			add_start(limit1, limit2, slots, ends, false);
			if (full)
				add_start(limit1, limit2, slots, ends, true);
		}
}

/* add_places -- with credential 1 once per gateway or not, and with the second of its leases at either gateway */
static void
add_places(int limit1, int limit2, const int slots[2])
{
	for (const char *once = config->once ? config->once : "0"; *once; once++)
		for (int gateway = 1; gateway <= (config->at_both && slots[1] ? GATEWAYS : 1); gateway++)
		{
			int			first = nstarts;

			add_starts(limit1, limit2, slots);
			for (int i = first; i < nstarts; i++)
			{
				starts[i].objects[1].once = *once - '0';
				for (int row = 0; row < ROWS; row++)
					if (starts[i].rows[row].session == 5)
						starts[i].rows[row].gateway = gateway;
			}
		}
}

/* add_cool_downs -- with each cool_down, and each of the leases at first one that has ended so long ago, or not */
static void
add_cool_downs(int limit1, int limit2, const int slots[2])
{
	const char *names = config->cooling ? config->cooling : "-";

	for (const char *cool = config->cool ? config->cool : "0"; *cool; cool++)
		for (const char *a = names; *a; a++)
			for (const char *b = names; *b; b++)
			{
				int			first = nstarts;

				if ((!slots[0] && a != names) || (!slots[1] && b != names))
					continue;
				add_places(limit1, limit2, slots);
				for (int i = first; i < nstarts; i++)
				{
					starts[i].objects[1].cool = starts[i].objects[2].cool = *cool - '0';
					for (int row = 0; row < 2; row++)
					{
						Row		   *r = &starts[i].rows[row];
						Entry	   *entry = &starts[i].entries[0][1];
						int			left;
						char		age = r->session == 4 ? *a : r->session == 5 ? *b : '-';

						if (age == '-')
							continue;
						starts[i].expected[r->session] = 0;
						r->session = 0;
						r->entries &= ~ENTRY_SESSION;
						r->cooling = true;
						r->age = age - '0';
						if (r->slot == SLOT_NONE)
							r->slot = SLOT_HIGH + row;
						/* a FULL entry is so until the first of them is over */
						left = starts[i].objects[1].cool - r->age;
						if (left <= 0)
							*entry = (Entry) {0};
						else if (entry->state == POOL_FULL && END_PAST - left > entry->wake)
							entry->wake = END_PAST - left;
					}
				}
			}
}

/* add_users -- with each limit of the user, and each of the leases at first another user's, or the user's with a slot or without */
static void
add_users(int limit1, int limit2, const int slots[2])
{
	const char *names = config->user_slots ? config->user_slots : "-";

	for (const char *limit = config->user_limits ? config->user_limits : "0"; *limit; limit++)
		for (const char *a = names; *a; a++)
			for (const char *b = names; *b; b++)
			{
				int			first = nstarts;

				if ((!slots[0] && a != names) || (!slots[1] && b != names) || (slots[1] && *a == *b && *a != '-' && *a != 'n'))
					continue;
				add_cool_downs(limit1, limit2, slots);
				for (int i = first; i < nstarts; i++)
				{
					starts[i].objects[USER].limit = *limit == 'u' ? NO_LIMIT : *limit - '0';
					for (int row = 0; row < 2; row++)
					{
						Row		   *r = &starts[i].rows[row];
						char		slot = r->session == 4 ? *a : r->session == 5 ? *b : '-';

						if (slot == '-')
							continue;
						r->user = true;
						r->user_slot = slot == 'n' ? SLOT_NONE : slot - '0';
						r->entries |= ENTRY_USER;
					}
				}
			}
}

/* make_starts -- all of a configuration's */
static void
make_starts(void)
{
	static const int slots[] = {0, 1, 2, SLOT_NONE};

	nstarts = 0;
	for (const char *a = config->limits[0]; *a; a++)
		for (const char *b = config->limits[1]; *b; b++)
			for (int i = 0; i < (config->held > 0 ? 4 : 1); i++)
				for (int j = 0; j < (config->held > 1 ? 4 : 1); j++)
				{
					if (slots[j] && (slots[i] == 0 || (slots[i] == slots[j] && slots[i] != SLOT_NONE)))
						continue;
					add_users(*a == 'u' ? NO_LIMIT : *a - '0', *b == 'u' ? NO_LIMIT : *b - '0',
							  (int[2]) {slots[i], slots[j]});
				}
}

static int	tests;
static int	failures;

/* check -- a configuration, with the protocol as it is */
static void
check(const Config *what)
{
	double		number = 0;
	clock_t		began = clock();

	found[0] = '\0';
	path_length = 0;
	use(what);
	make_starts();
	forget_all();
	for (int i = 0; i < nstarts && !found[0]; i++)
	{
		number += follow(&starts[i]);
		if (found[0] && path_length)
			tell(&starts[i], path, path_length, false);
	}
	if (found[0])
	{
		failures++;
		printf("not ok %d - %s: %s\n", ++tests, what->name, found);
		found[0] = '\0';
		if (!path_length)
			(void) search(starts, nstarts);
		found[0] = '\0';
	}
	else
		printf("ok %d - %s: %llu states, %.2g interleavings, %.1f s\n", ++tests, what->name,
			   (unsigned long long) known_count, number, (double) (clock() - began) / CLOCKS_PER_SEC);
	fflush(stdout);
}

/* check_mutant -- is a mutation caught? */
static void
check_mutant(int which, const Config *what)
{
	int			length;
	clock_t		began = clock();

	mutant = which;
	found[0] = '\0';
	path_length = 0;
	use(what);
	make_starts();
	length = search(starts, nstarts);
	if (!length)
	{
		/* a livelock has no last step */
		forget_all();
		for (int i = 0; i < nstarts && !found[0]; i++)
		{
			(void) follow(&starts[i]);
			if (found[0] && path_length)
				tell(&starts[i], path, path_length, false);
			length = path_length;
		}
	}
	failures += !found[0];
	printf("%s %d - mutant %s, in \"%s\": %s, %d steps, %.1f s\n", found[0] ? "ok" : "not ok", ++tests, mutants[which].name,
		   what->name, found[0] ? found : "not caught", length, (double) (clock() - began) / CLOCKS_PER_SEC);
	fflush(stdout);
	mutant = NO_MUTANT;
}

/* find_config, find_mutant -- by name; ends the program when there is none */
static const Config *
find_config(const char *name)
{
	for (int i = 0; i < NCONFIGS; i++)
		if (strcmp(configs[i].name, name) == 0)
			return &configs[i];
	fprintf(stderr, "limit: there is no configuration \"%s\"\n", name);
	exit(2);
}

static int
find_mutant(const char *name)
{
	for (int i = 1; i < MUTANT_COUNT; i++)
		if (strcmp(mutants[i].name, name) == 0)
			return i;
	fprintf(stderr, "limit: there is no mutant \"%s\"\n", name);
	exit(2);
}

int
main(int argc, char **argv)
{
	bool		all = argc > 1 && strcmp(argv[1], "--all") == 0;

	if (argc > 2 && strcmp(argv[1], "--mutant") == 0)
		check_mutant(find_mutant(argv[2]), find_config(argc > 3 ? argv[3] : mutants[find_mutant(argv[2])].catcher));
	else if (argc > 1 && !all)
		for (int i = 1; i < argc; i++)
			check(find_config(argv[i]));
	else
	{
		for (int i = 0; i < NCONFIGS; i++)
			if (all || !configs[i].all)
				check(&configs[i]);
		for (int i = 1; i < MUTANT_COUNT; i++)
			check_mutant(i, find_config(mutants[i].catcher));
	}
	printf("1..%d\n", tests);
	return failures > 0;
}
