/** Texts that Postgres can hold: no NUL, no half of a surrogate pair; lengths in characters, as Postgres and JSON Schema count. */

import { z } from "zod";
import { Refusal } from "./refusals.ts";

/** Whether Postgres can hold the text and gives back the same. */
export function isText(value: string): boolean {
  return !value.includes("\u0000") && value.isWellFormed();
}

export function text(min: number, max: number) {
  return z.string()
    .refine(isText, "must hold neither NUL nor half of a surrogate pair")
    .refine((value) => {
      const length = [...value].length;
      return min <= length && length <= max;
    }, min === 0 ? `must have at most ${max} characters` : `must have ${min} to ${max} characters`)
    .meta({ minLength: min, maxLength: max });
}

/** A UUID in any of its variants, as Postgres takes it; in small letters. */
export function uuid() {
  return z.guid({ error: (issue) => issue.input === undefined ? "is missing" : "must be a UUID" }).toLowerCase();
}

/** The value in the schema's shape; refused with a sentence that names each field that is not. */
export function shaped<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value, { error: said });
  if (result.success) return result.data;
  const details = result.error.issues.flatMap((issue) => {
    const fields = issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return fields.map((field) => ({ field: field.join(".").slice(0, 200), message: issue.message }));
  });
  const [{ field, message }] = details;
  throw new Refusal("invalid", `${field || "The body"} ${message}.`, { details: details.slice(0, 20) });
}

/** zod's issues as the rest of a sentence that begins with the field's name. */
function said(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "unrecognized_keys":
      return "is not a field that is known here";
    case "invalid_type":
      return issue.input === undefined ? "is missing" : `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be one of ${issue.values.join(", ")}`;
    case "too_small":
      return `must be at least ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
  }
  return undefined;
}

const TYPES: Record<string, string> = {
  string: "a text",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
  object: "an object",
};
