/** The bytes of a file on their way to storage. `fetch` cannot say how far an upload is, so this is XMLHttpRequest. */

import { Trouble } from "./trouble.ts";

/** Puts the file where the signed address says; `told` hears how many bytes are sent. Raises `Trouble`. */
export function uploaded(url: string, file: Blob, told: (bytes: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("PUT", url);
    sending.setRequestHeader("content-type", "application/x-ndjson");
    sending.upload.onprogress = (event) => told(event.loaded);
    sending.onerror = () =>
      reject(new Trouble("The upload broke off.", "Check the connection and submit again: nothing was started."));
    sending.onload = () =>
      // 409: the very file is there already, from an attempt whose answer was lost.
      sending.status < 300 || sending.status === 409
        ? resolve()
        : reject(new Trouble(`Storage did not take the file (${sending.status}).`, "Submit it again: nothing was started."));
    sending.send(file);
  });
}
