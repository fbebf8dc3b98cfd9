/** A file's SHA-256, read piece by piece, so that its size does not matter to the browser's memory. */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

const PIECE = 4 * 1024 * 1024;

/** The hash in hexadecimal digits; `told` hears how many bytes are read. Raises where the file cannot be read. */
export async function hashOf(file: Blob, told: (bytes: number) => void): Promise<string> {
  const hash = sha256.create();
  for (let at = 0; at < file.size; at += PIECE) {
    hash.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
    told(Math.min(file.size, at + PIECE));
  }
  return bytesToHex(hash.digest());
}
