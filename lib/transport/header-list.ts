/** Header blocks that a peer could not take: found before they are sent, since nghttp2 ends the whole session over one. */
import type { OutgoingHttpHeaders, Settings } from 'node:http2';
import { MeshError } from '../protocol/mesh-error.js';

/** RFC 9113, section 6.5.2: what each field counts beside its name and value. */
const FIELD_OVERHEAD_BYTES = 32;
/** nghttp2 sends no larger block. */
const MAX_SENT_BYTES = 65_536;
/** A server on Node takes no more fields, and says so in no SETTING (`maxHeaderListPairs`). */
const MAX_FIELDS = 128;
/** `:scheme` and `:authority`, which Node adds. */
const ADDED_FIELDS = 2;

/** Why `headers` cannot be sent to the peer with these SETTINGS; `undefined` when they can. */
export function headerListFault(
  headers: OutgoingHttpHeaders,
  { maxHeaderListSize = MAX_SENT_BYTES }: Settings,
  address: string,
): MeshError | undefined {
  let bytes = ':scheme:authorityhttps'.length + address.length + ADDED_FIELDS * FIELD_OVERHEAD_BYTES;
  let fields = ADDED_FIELDS;
  for (const [name, value] of Object.entries(headers)) {
    for (const each of Array.isArray(value) ? value : [String(value)]) {
      bytes += name.length + each.length + FIELD_OVERHEAD_BYTES;
      fields += 1;
    }
  }
  const most = Math.min(maxHeaderListSize, MAX_SENT_BYTES);
  if (bytes > most) {
    return tooLarge(
      `headers of ${bytes} bytes are over the ${most} that ${address} takes (its limits.maxHeaderBytes): send less metadata`,
    );
  }
  if (fields > MAX_FIELDS) {
    return tooLarge(
      `${fields} headers are over the ${MAX_FIELDS} that a peer takes: send fewer keys of metadata`,
    );
  }
  return undefined;
}

function tooLarge(message: string): MeshError {
  return new MeshError('RESOURCE_EXHAUSTED', message, { delivery: 'not-sent' });
}
