/*
 * The pages of the demo storefront. Slates and events go through /client.js alone; what a shop's own
 * server does (search, sign-in, orders, texts of items) is asked from /storefront.
 */
(function () {
  "use strict";

  const USERS = JSON.parse(document.currentScript.dataset.users);
  const FIELDS = ["title", "category", "brand", "size", "price", "prior_price", "currency"];
  const CART = "storefront.cart";
  const SENT = "storefront.sent";
  const VIEWED = "storefront.viewed";
  const MOST_SENT = 7;
  const N_HUES = 12;
  const TITLES = {
    home: "To begin with",
    trending: "Selling more than usual",
    discover: "New to you",
    product: "Instead of this one",
    bought_together: "Often bought with it",
    cart: "Often bought together with your cart",
  };
  const FALLBACKS = { popular: "Nothing is known of this visitor yet: what is popular" };
  const shop = window.shopwright;
  const main = document.getElementById("main");
  const titles = Object.create(null); // of items that a reason may name

  /* What the page is made of */

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  /* Catalogues in capitals are read more easily in small letters. */
  const soften = (text) => {
    if (text !== text.toUpperCase()) return text;
    return text.charAt(0) + text.slice(1).toLowerCase();
  };

  const nameOf = (item) => soften(item.fields.title || item.item_id);

  const makeTile = (item, size) => {
    const [department, category] = (item.fields.category || "Other").split(" > ");
    const name = category || department;
    const sum = Array.from(name).reduce((total, letter) => total + letter.charCodeAt(0), 0);
    const attributes = { class: `tile ${size} hue-${sum % N_HUES}`, "aria-hidden": "true" };
    return make("span", attributes, soften(name));
  };

  const formatMoney = (amount, currency) =>
    new Intl.NumberFormat("en", { style: "currency", currency }).format(amount);

  const makePrice = ({ price, prior_price: prior, currency }) => {
    if (!price) return make("span", { class: "meta" }, "no price yet");
    const isReduced = Number(prior) > Number(price);
    const before = isReduced ? make("s", { title: "lowest price before" }, formatMoney(prior, currency)) : null;
    return make("span", { class: isReduced ? "price sale" : "price" }, formatMoney(price, currency), before);
  };

  const describeReason = (item) => {
    const because = titles[item.because_item_id];
    const about = because || "what is on this page";
    return {
      buy_again: "You bought this before",
      because_you_viewed: `Because you looked at ${because || "similar things"}`,
      similar: `Similar to ${about}`,
      bought_together: `Often bought with ${about}`,
      trending: "Selling more than usual",
      popular: "Popular in this shop",
      new: "New in this shop",
      promoted: "Chosen by the shop",
      exploration: "Shown to learn who likes it",
    }[item.reason];
  };

  const addressOf = (item) => `/storefront/product?id=${encodeURIComponent(item.item_id)}`;

  const makeCard = (item) => {
    const meta = [item.fields.brand, item.fields.size].filter(Boolean).map(soften).join(", ");
    const open = { href: addressOf(item), onclick: () => report("clicked", item, item) };
    return make(
      "li",
      { class: "card", "data-item": item.item_id },
      make("a", open, makeTile(item, ""), make("span", { class: "title" }, nameOf(item))),
      make("span", { class: "meta" }, meta),
      makePrice(item.fields),
      make("span", { class: "reason" }, describeReason(item)),
      make("button", { type: "button", "aria-label": `Add ${nameOf(item)} to the cart`, onclick: () => addToCart(item) }, "Add"),
    );
  };

  const makeCards = (slate) => make("ul", { class: "cards" }, ...slate.items.map(makeCard));

  const makeRow = (slate) => {
    const heading = make("h2", {}, TITLES[slate.placement]);
    return slate.items.length ? make("section", { "data-slate": slate.placement }, heading, makeCards(slate)) : null;
  };

  /* The shelves of one visitor on the home page. */
  const makePane = ([first, second], title, secondTitle, kind) =>
    make(
      "section",
      { class: `pane ${kind}`, "data-slate": kind },
      make("h2", {}, title),
      makeCards(first),
      make("h3", {}, secondTitle),
      makeCards(second),
    );

  const show = (...children) => main.replaceChildren(...children.filter((child) => child !== null));

  const makeMessage = (text) => make("p", { class: "message", role: "status" }, text);
  const makeFailure = (error) => makeMessage(`The shop does not answer: ${error.message}`);
  const showFailure = (error) => main.append(makeFailure(error));

  /* The cart, kept by the browser */

  const readCart = () => JSON.parse(localStorage.getItem(CART) || "{}");

  const writeCart = (cart) => {
    localStorage.setItem(CART, JSON.stringify(cart));
    const sizes = Object.values(cart).reduce((total, quantity) => total + quantity, 0);
    document.getElementById("cart-size").textContent = sizes;
  };

  const addToCart = (item) => {
    const cart = readCart();
    writeCart({ ...cart, [item.item_id]: (cart[item.item_id] || 0) + 1 });
    report("added", item, item.item_id, 1);
  };

  const removeFromCart = (item) => {
    const { [item.item_id]: quantity, ...rest } = readCart();
    writeCart(rest);
    report("removed", item, item.item_id, quantity);
  };

  /* Events */

  const EVENTS = { viewed: "view_item", clicked: "select_item", added: "add_to_cart", removed: "remove_from_cart" };

  const report = (call, item, ...parameters) => {
    shop[call](...parameters);
    noteSent(EVENTS[call], nameOf(item));
  };
  const readSent = () => JSON.parse(sessionStorage.getItem(SENT) || "[]");

  const noteSent = (type, name) => {
    if (!shop.hasConsent()) return;
    sessionStorage.setItem(SENT, JSON.stringify([{ type, name }, ...readSent()].slice(0, MOST_SENT)));
    showSent();
  };

  const showSent = () => {
    const lines = readSent().map(({ type, name }) => make("li", {}, make("code", {}, type), ` ${name}`));
    document.getElementById("sent").replaceChildren(...(lines.length ? lines : [make("li", {}, "nothing yet")]));
  };

  /* The shop's own server */

  const ask = async (path, body) => {
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify(body) };
    const response = await fetch(`/storefront/${path}`, options);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    return answer;
  };

  const describeItems = async (itemIds) => {
    if (!itemIds.length) return {};
    const query = new URLSearchParams(itemIds.map((itemId) => ["item_id", itemId]));
    return (await (await fetch(`/storefront/items?${query}`)).json()).items;
  };

  /* Fetch the titles of the items that reasons name. */
  const learnTitles = async (slates) => {
    const named = slates.flatMap((slate) => slate.items.map((item) => item.because_item_id));
    const unknown = [...new Set(named)].filter((itemId) => itemId && !titles[itemId]);
    for (const [itemId, fields] of Object.entries(await describeItems(unknown))) {
      titles[itemId] = nameOf({ item_id: itemId, fields });
    }
  };

  /* What stands beside the page */

  const readUserId = () => shop.store.read("user")?.user_id || "";
  const describeVisitor = () => (readUserId() ? `customer ${readUserId()}` : "a stranger");

  const showFacts = (slates, milliseconds) => {
    const variants = Object.entries(shop.experiments());
    const experiments = variants.map(([key, variant]) => `${key}: this visitor gets ${variant}`);
    const [first] = slates;
    const facts = [
      ["Visitor", describeVisitor()],
      ["Experiment", experiments.join("; ") || "none that this visitor takes part in"],
      ["Slates of this page", slates.map((slate) => slate.placement).join(", ") || "none"],
    ];
    if (first) {
      facts.push(["Model", `${first.model.name}, version ${first.model.version}`]);
      facts.push(["Answered in", `${Math.round(milliseconds)} ms`]);
      if (first.fallback) facts.push(["Fallback", FALLBACKS[first.fallback] || first.fallback]);
    }
    const rows = facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    document.getElementById("facts").replaceChildren(...rows);
  };

  /* Ask for slates, and say beside the page how they were made. */
  const fetchSlates = async (request) => {
    const started = performance.now();
    const slates = await request();
    showFacts(slates, performance.now() - started);
    await learnTitles(slates);
    return slates;
  };

  /* The pages */

  const showHome = async () => {
    const options = { count: 3, fields: FIELDS };
    // Without ids: what somebody gets of whom nothing is known.
    const unknown = shop.post("/v1/browser/page", { placements: ["home", "discover"], ...options });
    const viewed = JSON.parse(sessionStorage.getItem(VIEWED));
    const second = viewed ? { placement: "product", item_ids: [viewed.item_id] } : "discover";
    const trending = { placement: "trending", count: 6 };
    const slates = await fetchSlates(() => shop.page(["home", second, trending], options));
    const title = viewed ? `Because you looked at ${viewed.name}` : TITLES.discover;
    show(
      make("h1", {}, "What would you like today?"),
      make("p", { class: "lead" }, "Look at something, or put it into the cart, and come back: the left side follows you, the right side does not."),
      make(
        "div",
        { class: "panes" },
        makePane(slates, `For you, ${describeVisitor()}`, title, "own"),
        makePane((await unknown).slates, "For somebody we know nothing about", TITLES.discover, "unknown"),
      ),
      makeRow(slates[2]),
    );
  };

  const showProduct = async (query) => {
    const itemId = query.get("id") || "";
    const [fields] = Object.values(await describeItems([itemId]));
    if (!fields) {
      showFacts([], 0);
      return show(make("h1", {}, "Not here"), makeMessage("This shop has no such item."));
    }
    const item = { item_id: itemId, fields };
    titles[itemId] = nameOf(item);
    report("viewed", item, itemId);
    if (shop.hasConsent()) sessionStorage.setItem(VIEWED, JSON.stringify({ item_id: itemId, name: nameOf(item) }));
    await shop.flush(); // the slates of this page know of it
    const slates = await fetchSlates(() => shop.product(itemId, { count: 6, fields: FIELDS, strict: true }));
    const meta = [fields.brand, fields.size].filter(Boolean).map(soften).join(", ");
    show(
      make(
        "div",
        { class: "product" },
        makeTile(item, "large"),
        make(
          "div",
          {},
          make("h1", {}, nameOf(item)),
          make("span", { class: "meta" }, meta),
          makePrice(fields),
          make("button", { type: "button", class: "main", onclick: () => addToCart(item) }, "Add to the cart"),
        ),
      ),
      ...slates.map(makeRow),
    );
  };

  const makeLine = ({ item, quantity }) =>
    make(
      "li",
      {},
      makeTile(item, "small"),
      make("a", { class: "name", href: addressOf(item) }, nameOf(item)),
      make("span", { class: "meta" }, `${quantity} ×`),
      makePrice(item.fields),
      make(
        "button",
        { type: "button", "aria-label": `Remove ${nameOf(item)}`, onclick: () => { removeFromCart(item); showPage(); } },
        "Remove",
      ),
    );

  const placeOrder = async (lines) => {
    shop.checkout(lines.map(({ item }) => item.item_id));
    await shop.flush();
    const ordered = lines.map(({ item, quantity }) => ({ item_id: item.item_id, quantity }));
    const { order_id: orderId } = await ask("orders", { ...(await shop.readIds()), lines: ordered });
    const rest = readCart();
    for (const { item } of lines) delete rest[item.item_id];
    writeCart(rest);
    for (const { item } of lines) noteSent("purchase", `${nameOf(item)}, by the shop's server`);
    await showPage();
    main.prepend(makeMessage(`Order ${orderId} is placed. The next pages know what you bought.`));
  };

  const showCart = async () => {
    const cart = readCart();
    const described = await describeItems(Object.keys(cart));
    const lines = Object.entries(described).map(([itemId, fields]) => ({
      item: { item_id: itemId, fields },
      quantity: cart[itemId],
    }));
    for (const { item } of lines) titles[item.item_id] = nameOf(item);
    const ids = lines.map(({ item }) => item.item_id);
    await shop.flush();
    const slates = await fetchSlates(() =>
      ids.length ? shop.cart(ids, { count: 6, fields: FIELDS, strict: true }) : shop.page(["home"], { count: 6, fields: FIELDS }),
    );
    const priced = lines.filter(({ item }) => item.fields.price);
    const total = priced.reduce((sum, { item, quantity }) => sum + item.fields.price * quantity, 0);
    show(
      make("h1", {}, "Your cart"),
      lines.length ? make("ul", { class: "lines" }, ...lines.map(makeLine)) : make("p", { class: "lead" }, "It is empty."),
      priced.length
        ? make(
            "div",
            { class: "total" },
            make("span", {}, "Total ", make("b", {}, formatMoney(total, priced[0].item.fields.currency))),
            make("button", { type: "button", class: "main", onclick: () => placeOrder(priced).catch(showFailure) }, "Place the order"),
          )
        : null,
      ...slates.map(makeRow),
    );
  };

  const showSearch = async (query) => {
    const text = query.get("q") || "";
    document.querySelector("[name=q]").value = text;
    if (text.trim()) {
      shop.searched(text);
      if (shop.hasConsent()) noteSent("search", text);
    }
    const ids = await shop.readIds();
    const search = async () => [(await ask("search", { ...ids, query: text })).slate].filter(Boolean);
    const [slate] = await fetchSlates(search);
    show(
      make("h1", {}, `“${text}”`),
      slate
        ? make("p", { class: "lead" }, `Matches by relevance, ranked for ${describeVisitor()}.`)
        : makeMessage("Nothing matches. Try one word, such as milk or bread."),
      slate ? make("section", { "data-slate": "search" }, makeCards(slate)) : null,
    );
  };

  const PAGES = { "": showHome, product: showProduct, cart: showCart, search: showSearch };

  const showPage = async () => {
    main.setAttribute("aria-busy", "true");
    try {
      await PAGES[location.pathname.split("/")[2] || ""](new URLSearchParams(location.search));
    } catch (error) {
      show(make("h1", {}, "Not now"), makeFailure(error));
    }
    main.setAttribute("aria-busy", "false");
  };

  /* Who is here */

  const changePerson = async (userId) => {
    shop.signOut();
    if (userId) shop.signIn(userId, (await ask("sign-in", { user_id: userId })).user_token);
    location.reload();
  };

  const beginAgain = (hasConsent) => {
    shop.consent(false);
    localStorage.removeItem(CART);
    sessionStorage.clear();
    if (hasConsent) shop.consent(true);
    location.assign("/storefront");
  };

  const start = async () => {
    if (shop.store.read("consent") === undefined) shop.consent(true);
    const person = document.getElementById("person");
    person.append(new Option("a stranger", ""));
    person.append(...USERS.map((userId) => new Option(`customer ${userId}`, userId)));
    person.value = readUserId();
    person.disabled = !shop.hasConsent();
    person.addEventListener("change", () => changePerson(person.value).catch(showFailure));
    const consent = document.getElementById("consent");
    consent.checked = shop.hasConsent();
    consent.addEventListener("change", () => beginAgain(consent.checked));
    document.getElementById("restart").addEventListener("click", () => beginAgain(true));
    writeCart(readCart());
    showSent();
    await shop.flush(); // what the page before could not send
    await showPage();
  };

  start();
})();
