'use strict';
// Pages of Gearman ask for themselves again every few seconds while somebody looks at them.
{
    const SECONDS = 5;
    const PLACE = '.gearman-live';
    let timer = 0;
    let asking = null;

    // Make `old` equal to `fresh`, and keep the nodes that stay: with the focus, what is open, what is ticked.
    function update(old, fresh) {
        for (const {name} of [...old.attributes]) {
            if (!fresh.hasAttribute(name) && !(name === 'open' && old.matches('details'))) {
                old.removeAttribute(name);
            }
        }
        for (const {name, value} of fresh.attributes) {
            if (old.getAttribute(name) !== value && !(name === 'open' && old.matches('details'))) {
                old.setAttribute(name, value);
            }
        }
        let next = old.firstChild;
        for (const node of [...fresh.childNodes]) {
            const same = node.id && [...old.children].find(each => each.id === node.id);
            if (same && same !== next) {
                old.insertBefore(same, next);
                next = same;
            }
            if (!next || !isAlike(next, node)) {
                old.insertBefore(node, next);
            } else {
                if (next.nodeType === Node.ELEMENT_NODE) {
                    update(next, node);
                } else if (next.data !== node.data) {
                    next.data = node.data;
                }
                next = next.nextSibling;
            }
        }
        while (next) {
            const gone = next;
            next = next.nextSibling;
            gone.remove();
        }
    }

    function isAlike(one, other) {
        return one.nodeName === other.nodeName && (one.id || '') === (other.id || '');
    }

    async function refresh() {
        asking = new AbortController();
        const place = document.querySelector(PLACE);
        try {
            const response = await fetch(location.href, {signal: asking.signal, redirect: 'manual'});
            if (response.type === 'opaqueredirect' || response.status === 403) {
                location.reload();  // the session has ended
                return;
            }
            if (!response.ok) {
                throw new Error(response.status);
            }
            const page = new DOMParser().parseFromString(await response.text(), 'text/html');
            update(place, page.querySelector(PLACE));
            place.classList.remove('gearman-stale');
        } catch (error) {
            if (error.name === 'AbortError') {
                return;
            }
            place.classList.add('gearman-stale');
        }
        start(SECONDS);
    }

    function start(seconds) {
        stop();
        timer = setTimeout(refresh, seconds * 1000);
    }

    function stop() {
        clearTimeout(timer);
        asking?.abort();
    }

    if (document.querySelector(PLACE)) {
        const look = () => (document.hidden || !document.hasFocus() ? stop() : start(0));
        window.addEventListener('blur', stop);
        window.addEventListener('focus', look);
        document.addEventListener('visibilitychange', look);
        if (!document.hidden) {
            start(SECONDS);
        }
    }
}
