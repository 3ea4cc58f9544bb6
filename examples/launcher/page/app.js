// app.js -- how does the page show what the server sends, and ask for a session?
//
// The server sends a view's whole state whenever it changes; the view is then built anew, and the focus put back. What comes
// from the database is put in as text, never as markup.

const $ = id => document.getElementById(id);
const countryNames = new Intl.DisplayNames(['en'], { type: 'region' });
let state = {};
let events, choices;
let user = new URLSearchParams(location.search).get('user') || '';
let workspace = new URLSearchParams(location.search).get('workspace') || '';

function el(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
}

// replaces what an element has; the focus stays on the control with the same id, or, when that is gone, on the element
function fill(id, children) {
    const focused = $(id).contains(document.activeElement) && document.activeElement.id;
    $(id).replaceChildren(...children);
    $(id).tabIndex = -1;
    if (focused)
        ($(focused) ?? $(id)).focus();
}

function countryName(code) {
    try {
        return countryNames.of(code);
    } catch {
        return code || 'Anywhere';      // not the code of a country
    }
}
const place = ({ city, country, name, gateway }) => city || (country && countryName(country)) || name || gateway;

function since(time) {
    const minutes = Math.floor((Date.now() - new Date(time)) / 60000);
    return minutes < 1 ? 'just now' : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// ------------------------------------------------------------------ messages

let fading;

function say(kind, about, sentence) {
    clearTimeout(fading);
    if (kind === 'good')
        fading = setTimeout(say, 8000, '', '', '');
    $('message').className = kind;
    $('message').replaceChildren(...(about ? [el('strong', {}, about), ' '] : []), sentence);
}

// asks the server for a change; it answers with what a user has to know, or the page with what it says of the answer
async function ask(method, url, body, about, success) {
    say('', '', '');
    const options = { method, headers: { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) };
    try {
        const response = await fetch(url, options);
        const answer = await response.json();
        if (!response.ok)
            return say('bad', about, answer.sentence);
        say('good', about, success(answer));
    } catch {
        say('bad', about, 'The launcher does not answer. Try again in a moment.');
    }
}

// ---------------------------------------------------------------- the launch

// the id of the button whose session is being started; no other is meanwhile
let starting = '';

// a double click is one click
async function start({ currentTarget: button, detail }, about, wish) {
    if (starting || detail > 1)
        return;
    starting = button.id;
    button.ariaBusy = true;
    await ask('POST', 'sessions', { user, workspace, ...wish }, about,
        session => `Your session leaves through ${session.gateway}${session.city ? ` in ${session.city}` : ''}.`);
    starting = '';
    if ($(button.id))
        $(button.id).ariaBusy = false;
}

function startButton(id, properties, about, wish, ...children) {
    return el('button', {
        id,
        ...properties,
        ariaBusy: id === starting,
        onclick: event => start(event, about, wish),
        onkeydown: event => !event.repeat,     // one that is held down is pressed once
    }, ...children);
}

// a gateway, with what is free. One that is full is greyed; asked all the same, the server says why
function gatewayButton(gateway) {
    const { available } = gateway;
    const free = available === null ? 'Free' : available === '0' ? 'Full' : `${available} free`;
    return startButton(`gateway-${gateway.id}`, { className: 'gateway', ariaDisabled: available === '0' },
        place(gateway), { gateway: gateway.id },
        el('b', {}, place(gateway)),
        el('span', { className: available === '1' ? 'free last' : 'free' }, free),
        el('small', {}, `${gateway.provider} · ${gateway.name}`));
}

function countrySection([code, gateways]) {
    const name = countryName(code);
    const any = startButton(`any-${code}`, {
        className: 'any',
        ariaLabel: `Any gateway in ${name}`,
        ariaDisabled: gateways.every(gateway => gateway.available === '0'),
    }, name, { country: code }, 'Any gateway');
    const heading = el('div', { className: 'country' },
        el('h2', {}, el('span', { className: 'code' }, code), name), ...(gateways.length > 1 && code ? [any] : []));
    return el('section', { ariaLabel: name }, heading, el('div', { className: 'gateways' }, ...gateways.map(gatewayButton)));
}

function sessionItem(session) {
    const end = el('button', {
        id: `end-${session.id}`,
        className: 'end',
        ariaLabel: `End the session in ${place(session)}`,
        onclick: ({ detail }) => detail < 2 && ask('DELETE', `sessions/${session.id}?user=${encodeURIComponent(user)}`, null, place(session),
            () => 'Your session has ended.'),
    }, 'End');
    return el('li', { className: session.ended_by ? 'ended' : '' },
        el('b', {}, place(session), ' ', el('small', {}, session.country ? countryName(session.country) : '')),
        el('small', {}, session.ended_by === 'admin' ? 'An administrator has ended this session.'
            : session.ended_by ? 'This session has ended: its lease was not renewed.'
            : `${session.workspace} · ${session.gateway} · ${since(session.started_at)}`),
        ...(session.ended_by ? [] : [end]));
}

// who and where, anew only when it has changed: the list may be open
function showChoices(accounts, workspaces) {
    const text = JSON.stringify([accounts, workspaces, user, workspace]);
    if (text === choices)
        return;
    choices = text;
    fill('user', accounts.map(({ id, name }) => new Option(name, id, false, id === user)));
    fill('workspaces', [el('legend', {}, 'Workspace'), el('div', {}, ...workspaces.map(({ id, name }) => el('label', {}, el('input', {
        id: `workspace-${id}`, type: 'radio', name: 'workspace', checked: id === workspace,
        onchange: () => { workspace = id; connect(); },
    }), el('span', {}, name))))]);
}

function showLaunch({ menu, sessions, accounts, workspaces }) {
    if (!menu) {
        user = (accounts.find(({ id }) => id === user) ?? accounts[0]).id;
        workspace = (workspaces.find(({ id }) => id === workspace) ?? workspaces[0]).id;
        return connect();
    }
    showChoices(accounts, workspaces);

    const countries = new Map();
    for (const gateway of menu)
        countries.set(gateway.country ?? '', [...countries.get(gateway.country ?? '') || [], gateway]);
    const byName = ([a], [b]) => countryName(a).localeCompare(countryName(b));
    const byPlace = (a, b) => place(a).localeCompare(place(b));
    fill('countries', [...countries].sort(byName).map(([code, gateways]) => countrySection([code, gateways.sort(byPlace)])));

    $('nothing').hidden = menu.some(({ available }) => available !== '0');
    $('nothing').textContent = menu.length
        ? 'Nothing is free: all connections are taken, or you have as many as you may have at once.'
        : 'No gateway is open to you in this workspace.';
    fill('sessions', sessions.length ? sessions.map(sessionItem)
        : [el('li', { className: 'none' }, 'None is running. Pick a gateway to start one.')]);
}

// ------------------------------------------------------------ the operations

// as many boxes as connections, 24 at most: those that are held are filled
function meter(active, most) {
    const boxes = Math.min(most, 24);
    const held = Math.ceil(active / most * boxes);
    return el('div', { className: 'meter', ariaHidden: 'true' },
        ...Array.from({ length: boxes }, (_, box) => el('i', { className: box < held ? 'held' : '' })));
}

function poolItem({ name, provider, subject_type, subject_id, active, most, available, once, enabled }) {
    const full = most !== null && available === '0';
    return el('li', { className: full ? 'full' : '' },
        el('b', {}, name),
        el('span', { className: full || available === '1' ? 'free last' : 'free' }, !enabled ? 'Off' : full ? 'Full'
            : most !== null ? `${available} free` : once ? '1 a gateway' : 'No limit'),
        el('small', {}, `${provider} · ${subject_type} ${subject_id ?? ''}`),
        ...(most === null ? [] : [meter(Number(active), Number(most))]),
        el('small', {}, most === null ? `${active} held` : `${active} of ${most} held`));
}

function connectionRow(connection) {
    const end = el('button', {
        id: `end-${connection.id}`,
        className: 'end',
        ariaLabel: `End the session of ${connection.user} in ${place(connection)}`,
        onclick: ({ detail }) => detail < 2 && ask('DELETE', `operations/sessions/${connection.id}`, null, connection.user,
            () => 'The session has ended.'),
    }, 'End');
    return el('tr', {},
        el('td', {}, connection.user),
        el('td', {}, connection.workspace),
        el('td', {}, el('span', { className: 'code' }, connection.country ?? ''), `${place(connection)} `, el('small', {}, connection.gateway)),
        el('td', {}, connection.pool, ' ', el('small', {}, connection.provider)),
        el('td', {}, since(connection.acquired_at)),
        el('td', {}, end));
}

function showOperations({ totals, pools, connections }) {
    const total = (number, what) => el('div', {}, el('dt', {}, what), el('dd', {}, number));
    fill('totals', [
        total(totals.connections, 'live connections'),
        total(totals.users, 'users connected'),
        total(pools.filter(({ most, available }) => most !== null && available === '0').length, `of ${pools.length} pools full`),
    ]);
    fill('pools', pools.map(poolItem));
    fill('connections', connections.map(connectionRow));
}

// ----------------------------------------------------------------- the state

function show() {
    const launch = location.hash !== '#operations';
    $('launch').hidden = !launch;
    $('operations').hidden = launch;
    $('user').parentElement.hidden = !launch;
    for (const link of document.querySelectorAll('nav a'))
        link.ariaCurrent = (link.hash === '#operations') !== launch ? 'page' : null;
    if (state.trouble)
        say('bad trouble', '', state.trouble);
    else if ($('message').className === 'bad trouble')
        say('', '', '');
    if (launch && state.accounts)
        showLaunch(state);
    else if (!launch && state.pools)
        showOperations(state);
}

// the events of the view that is shown, for the user and the workspace that are chosen
function connect() {
    events?.close();
    state = {};
    const query = new URLSearchParams({ user, workspace });
    history.replaceState(null, '', `?${query}${location.hash}`);
    events = new EventSource(`${location.hash === '#operations' ? 'operations' : 'menu'}?${query}`);
    events.onmessage = message => { state = JSON.parse(message.data); show(); };
    events.onerror = () => say('bad trouble', '', 'The launcher does not answer. This page tries again.');
    show();
}

$('user').onchange = () => { user = $('user').value; connect(); };
addEventListener('hashchange', connect);
setInterval(show, 30000);       // times go on
connect();
