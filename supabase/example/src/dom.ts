/**
 * How the page makes elements. Whatever comes from data goes in as text or as an attribute's value: nothing here parses HTML,
 * and no attribute that would run a script is ever set from data.
 */

export type Child = Node | string | null | false;
type Listener = (event: Event) => void;
export type Attributes = Readonly<Record<string, string | number | boolean | Listener>>;

/** An element with these attributes and children. A function is a listener (`onclick`), `false` leaves an attribute out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child): child is Node | string => child !== null && child !== false));
  return made;
}

/** The text of an element, touched only where it differs, so that selections and screen readers are left in peace. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** An attribute, touched only where it differs. */
export function mark(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Hides elements, also from screen readers, or brings them back. */
export function shown(visible: boolean, ...elements: HTMLElement[]): void {
  for (const element of elements) if (element.hidden === visible) element.hidden = !visible;
}

let numbered = 0;

/** A labelled control; `hint` is read out with it. */
export function field(label: string, control: HTMLElement, hint = ""): HTMLElement {
  const id = control.id || `field-${++numbered}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return el(
    "div",
    { class: "field" },
    el("label", { for: id }, label),
    control,
    hint ? el("small", { id: `${id}-hint` }, hint) : null,
  );
}

/** A drop-down of `[value, label]` pairs. */
export function choice(options: ReadonlyArray<readonly [string, string]>, chosen: string, attributes: Attributes = {}) {
  return el(
    "select",
    attributes,
    ...options.map(([value, label]) => el("option", { value, selected: value === chosen }, label)),
  );
}

/** Puts `wanted` into `parent` in this order, keeping the elements that are there already and so their focus. */
export function arrange(parent: Element, wanted: readonly Element[]): void {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
}
