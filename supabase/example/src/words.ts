/** Numbers, instants and states in the words that people read. */

import type { Status } from "./model.ts";

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const STATES: Readonly<Record<Status, string>> = {
  awaiting_upload: "Awaiting upload",
  submitted: "Submitted",
  planning: "Planning",
  running: "Running",
  waiting: "Waiting",
  paused: "Paused",
  completed: "Completed",
  cancelled: "Cancelled",
  failed: "Failed",
};

export const PRIORITIES = [["urgent", "Urgent"], ["normal", "Normal"], ["low", "Low"]] as const;

/** `12,345`. */
export function count(number: number): string {
  return whole.format(number);
}

/** `1 operation`, `2 operations`. */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** With a capital in front. */
export function begun(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Bytes as people say them: `1.4 MB`. */
export function bytes(number: number): string {
  if (number < 1000) return counted(number, "byte");
  if (number < 1e6) return `${(number / 1e3).toFixed(number < 1e4 ? 1 : 0)} kB`;
  return `${(number / 1e6).toFixed(number < 1e7 ? 1 : 0)} MB`;
}

/** A length of time in its two largest units: `42 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (large: number, unit: string, small: number, smaller: string) =>
    small ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

/** The time of an instant, with its day where that is not today. */
export function instant(iso: string): string {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

/** `in 42 s (15:04:05)`, or `any moment` for what should have been. */
export function ahead(iso: string): string {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  return seconds < 1 ? "any moment now" : `in ${duration(seconds)} (${instant(iso)})`;
}

/** `just now`, `5 min ago`. */
export function ago(iso: string): string {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 3600) return `${duration(seconds < 60 ? seconds : seconds - (seconds % 60))} ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : instant(iso);
}
