/*
 * The client of a shop's pages: slates of a page, and events of its visitor. One file, no dependencies.
 *
 *   <script src="https://HOST/client.js" data-key="pub_..." data-consent="granted"></script>
 *   <script>
 *     shopwright.page(["home", {placement: "trending", count: 5}], {fields: ["title", "price"]})
 *       .then((slates) => ...);
 *   </script>
 *
 * Without consent nothing is stored, no event is sent, and slates are those of a visitor of whom
 * nothing is known. Every call returns a promise; a failed slate rejects it, an event never does.
 */
(function (root) {
  "use strict";

  const STORE = "shopwright";
  const SESSION_MS = 30 * 60 * 1000; // of silence end a session
  const FLUSH_MS = 1000;
  const MAX_BATCH = 50;
  const MAX_QUEUE = 500;
  const FIRST_RETRY_MS = 2000;
  const LAST_RETRY_MS = 60000;
  const CLICK_MS = 24 * 60 * 60 * 1000; // a click explains what follows on its item for a day

  const makeId = () => {
    const bytes = root.crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  /* What a browser keeps between pages; in memory alone where it keeps nothing. */
  class Store {
    constructor() {
      this.memory = {};
    }

    read(name) {
      try {
        const text = root.localStorage.getItem(`${STORE}.${name}`);
        return text === null ? this.memory[name] : JSON.parse(text);
      } catch (error) {
        return this.memory[name];
      }
    }

    write(name, value) {
      this.memory[name] = value;
      try {
        root.localStorage.setItem(`${STORE}.${name}`, JSON.stringify(value));
      } catch (error) {
        // A browser that keeps nothing, or is full: this page remembers it.
      }
    }

    remove(name) {
      delete this.memory[name];
      try {
        root.localStorage.removeItem(`${STORE}.${name}`);
      } catch (error) {
        // As above.
      }
    }
  }

  class Failure extends Error {
    constructor(status, problem, retrySeconds) {
      super((problem && problem.detail) || `the shop answered ${status}`);
      this.name = "ShopwrightError";
      this.status = status; // 0 where nothing was answered
      this.problem = problem;
      this.retrySeconds = retrySeconds;
    }
  }

  class Client {
    /* url, key, zone, consent ("granted" or "denied"; what was said before where it is left out) */
    constructor(options) {
      this.url = options.url.replace(/\/$/, "");
      this.key = options.key;
      this.zone = options.zone;
      this.store = new Store();
      this.visitor = null;
      this.variants = {};
      this.timer = null;
      this.sending = false;
      this.retryMs = 0;
      if (options.consent) this.consent(options.consent === "granted");
      const leave = () => {
        if (root.document.visibilityState === "hidden") this.sendBeacon();
      };
      root.document.addEventListener("visibilitychange", leave);
      root.addEventListener("pagehide", () => this.sendBeacon());
      // What an earlier page could not send.
      if (this.hasConsent() && this.readQueue().length) this.flushSoon(0);
    }

    /* Consent */

    hasConsent() {
      return this.store.read("consent") === true;
    }

    /* Say whether this visitor agrees. A refusal forgets the visitor and what was not sent yet. */
    consent(granted) {
      this.store.write("consent", Boolean(granted));
      if (granted) return;
      for (const name of ["visitor", "session", "queue", "clicks", "user"]) this.store.remove(name);
      this.visitor = null;
      root.clearTimeout(this.timer);
      this.timer = null;
    }

    /* Whoever has signed in, with the user_token that the shop's server asked for. */
    signIn(userId, userToken) {
      if (this.hasConsent()) this.store.write("user", { user_id: userId, user_token: userToken });
    }

    signOut() {
      this.store.remove("user");
    }

    /* Slates */

    /* Placements by name, or as objects with item_ids, count, filter, diversity, after. */
    async page(placements, options) {
      const body = { placements, ...this.readZone(), ...(options || {}) };
      const answer = await this.call("/v1/browser/page", body);
      for (const slate of answer.slates) {
        for (const { experiment, variant } of slate.experiments) this.variants[experiment] = variant;
        for (const item of slate.items) {
          item.recommendation_id = slate.recommendation_id;
          item.placement = slate.placement;
        }
      }
      return answer.slates;
    }

    /* The slates of one item's page: alternatives, and what is bought with it. */
    product(itemId, options) {
      const { placements, ...rest } = options || {};
      return this.page(placements || ["product", "bought_together"], { ...rest, item_ids: [itemId] });
    }

    /* What completes a cart. */
    cart(itemIds, options) {
      const { placements, ...rest } = options || {};
      return this.page(placements || ["cart"], { ...rest, item_ids: itemIds });
    }

    /* The next page of a slate. */
    async next(slate, options) {
      const { count, ...rest } = options || {};
      const placement = { placement: slate.placement, after: slate.recommendation_id };
      if (count) placement.count = count;
      return (await this.page([placement], rest))[0];
    }

    /* The variants of experiments under which this page was answered, by experiment. */
    experiments() {
      return { ...this.variants };
    }

    /* Events */

    viewed(itemId) {
      return this.track("view_item", itemId);
    }

    /* An item of a slate was clicked: what follows on it is attributed to the slate. */
    clicked(item) {
      const from = {
        recommendation_id: item.recommendation_id,
        placement: item.placement,
        rank: item.rank,
      };
      if (this.hasConsent()) {
        const clicks = this.readClicks();
        clicks[item.item_id] = { ...from, at: Date.now() };
        this.store.write("clicks", clicks);
      }
      return this.track("select_item", item.item_id, from);
    }

    shown(item) {
      const { recommendation_id, placement, rank } = item;
      return this.track("view_item_list", item.item_id, { recommendation_id, placement, rank });
    }

    added(itemId, quantity) {
      return this.track("add_to_cart", itemId, quantity ? { quantity } : {});
    }

    removed(itemId, quantity) {
      return this.track("remove_from_cart", itemId, quantity ? { quantity } : {});
    }

    wished(itemId) {
      return this.track("add_to_wishlist", itemId);
    }

    searched(query) {
      return this.track("search", undefined, { query });
    }

    checkout(itemIds) {
      for (const itemId of itemIds) this.track("begin_checkout", itemId);
    }

    track(eventType, itemId, more) {
      if (!this.hasConsent()) return;
      const click = this.readClicks()[itemId];
      const from = click && {
        recommendation_id: click.recommendation_id,
        placement: click.placement,
        rank: click.rank,
      };
      const event = {
        event_id: makeId(),
        event_type: eventType,
        occurred_at: new Date().toISOString(),
        item_id: itemId,
        session_id: this.readSession(),
        ...this.readZone(),
        ...from,
        ...more,
      };
      this.writeQueue([...this.readQueue(), event].slice(-MAX_QUEUE));
      this.flushSoon(this.readQueue().length >= MAX_BATCH ? 0 : FLUSH_MS);
    }

    /* Send what waits; resolves when it was tried. Events wait until the shop acknowledges them. */
    async flush() {
      root.clearTimeout(this.timer);
      this.timer = null;
      const batch = this.readQueue().slice(0, MAX_BATCH);
      if (this.sending || !batch.length || !this.hasConsent()) return;
      this.sending = true;
      try {
        await this.call("/v1/browser/events", { events: batch });
        this.forget(batch);
        this.retryMs = 0;
      } catch (error) {
        const isTemporary = error.status === 0 || error.status === 429 || error.status >= 500;
        if (!isTemporary) this.forget(batch); // the shop will not take it later either
        this.retryMs = Math.min(Math.max(this.retryMs * 2, FIRST_RETRY_MS), LAST_RETRY_MS);
        if (error.retrySeconds) this.retryMs = error.retrySeconds * 1000;
      } finally {
        this.sending = false;
      }
      if (this.readQueue().length) this.flushSoon(this.retryMs);
    }

    /* A page that goes away sends what waits. Nobody answers: it is kept, and counted once. */
    sendBeacon() {
      const batch = this.readQueue().slice(0, MAX_BATCH);
      const visitor = this.store.read("visitor");
      if (!batch.length || !visitor || !this.hasConsent() || !root.navigator.sendBeacon) return;
      const body = JSON.stringify({ ...visitor, ...this.store.read("user"), events: batch });
      const address = `${this.url}/v1/browser/events?key=${encodeURIComponent(this.key)}`;
      root.navigator.sendBeacon(address, new Blob([body], { type: "text/plain" }));
    }

    flushSoon(ms) {
      if (this.timer === null) this.timer = root.setTimeout(() => this.flush(), ms);
    }

    forget(batch) {
      const sent = new Set(batch.map((event) => event.event_id));
      this.writeQueue(this.readQueue().filter((event) => !sent.has(event.event_id)));
    }

    readQueue() {
      return this.store.read("queue") || [];
    }

    writeQueue(queue) {
      if (this.hasConsent()) this.store.write("queue", queue);
    }

    readClicks() {
      const clicks = this.store.read("clicks") || {};
      const recent = Object.entries(clicks).filter(([, click]) => Date.now() - click.at < CLICK_MS);
      return Object.fromEntries(recent.slice(-MAX_QUEUE));
    }

    readZone() {
      return this.zone ? { zone: this.zone } : {};
    }

    readSession() {
      const known = this.store.read("session");
      const isOpen = known && Date.now() - known.at < SESSION_MS;
      const session = { id: isOpen ? known.id : makeId(), at: Date.now() };
      this.store.write("session", session);
      return session.id;
    }

    /* Calls */

    /* Add the ids of this visitor and their proofs. Where a proof has ended, a user is signed out,
       and a visitor becomes a new one. */
    async call(path, body) {
      try {
        return await this.post(path, { ...body, ...(await this.readIds()) });
      } catch (error) {
        const proof = error.problem && error.problem.where;
        const name = { visitor_token: "visitor", user_token: "user" }[proof];
        if (error.status !== 403 || !name) throw error;
        this.store.remove(name);
        return this.post(path, { ...body, ...(await this.readIds()) });
      }
    }

    async readIds() {
      if (!this.hasConsent()) return {};
      if (!this.store.read("visitor")) {
        // Several calls of one page ask once.
        this.visitor = this.visitor || this.post("/v1/browser/visitors", {});
        try {
          const visitor = await this.visitor;
          if (this.hasConsent()) this.store.write("visitor", visitor);
        } finally {
          this.visitor = null;
        }
      }
      return { ...this.store.read("visitor"), ...this.store.read("user") };
    }

    async post(path, body) {
      let response;
      try {
        response = await root.fetch(this.url + path, {
          method: "POST",
          headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.key}` },
          body: JSON.stringify(body),
          credentials: "omit",
          keepalive: path.endsWith("/events"),
        });
      } catch (error) {
        throw new Failure(0, { detail: String(error) });
      }
      const answer = await response.json().catch(() => null);
      if (response.ok && answer) return answer;
      const retrySeconds = Number(response.headers.get("Retry-After")) || 0;
      throw new Failure(response.status, answer, retrySeconds);
    }
  }

  const script = root.document.currentScript;
  const create = (options) => new Client(options);
  if (script && script.dataset.key) {
    root.shopwright = create({
      url: script.dataset.url || new URL(script.src).origin,
      key: script.dataset.key,
      zone: script.dataset.zone,
      consent: script.dataset.consent,
    });
    root.shopwright.create = create;
  } else {
    root.shopwright = { create };
  }
})(window);
