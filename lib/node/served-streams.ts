/** The streams of their own that this node serves: raw channels and call streams, whichever side has opened them. */
import type { Http2Stream } from 'node:http2';
import { DEFAULT_CHANNEL, HEADER, headerOf, type HeaderBlock } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import { FrameStream } from '../transport/frame-stream.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { startRawChannel } from '../transport/raw-stream.js';
import { ServedStream } from '../transport/served-stream.js';
import type { ServedCall } from './drain.js';
import type { NodeHandlers } from './handlers.js';
import type { IncomingStream } from './incoming-stream.js';
import type { ResolvedOptions } from './mesh-options.js';
import { openingOf, readHeaderMetadata, readHeaderTimeoutMs } from './opening.js';
import { OpenStreams } from './open-streams.js';
import { keyOf } from './peer-status.js';
import { answersNoCalls, tooLate } from './refusals.js';

/** What the streams need of their node. */
export interface ServedStreamsDeps {
  readonly options: ResolvedOptions;
  handlers(): NodeHandlers | undefined;
  readonly onFault: (message: string) => void;
}

/** True when the headers ask for a raw channel or a call stream. */
export function isStreamOfItsOwn(headers: HeaderBlock): boolean {
  return headers[HEADER.channel] !== undefined || headerOf(headers, HEADER.pattern) !== undefined;
}

export class ServedStreams {
  /** The raw channels on which peers are the callers. */
  readonly raw = new OpenStreams<RawChannel>();
  /** The calls on streams of their own that are being answered. */
  readonly calls = new OpenStreams<ServedCall>();

  constructor(private readonly deps: ServedStreamsDeps) {}

  /** Takes the stream, or refuses it. */
  serve(stream: IncomingStream): void {
    const route = headerOf(stream.headers, HEADER.pattern);
    if (route !== undefined) this.serveCall(stream, decodeName(route));
    else this.serveRaw(stream, String(stream.headers[HEADER.channel]));
  }

  private serveRaw(stream: IncomingStream, asked: string): void {
    const { options, onFault } = this.deps;
    const { headers, peer } = stream;
    const handlers = this.deps.handlers();
    const name = asked === '' || asked === DEFAULT_CHANNEL ? undefined : decodeName(asked);
    if (handlers?.hasChannel(name) !== true) {
      const which =
        name === undefined
          ? 'no default raw channel'
          : `no raw channel named ${JSON.stringify(name.slice(0, 100))}`;
      stream.refuse(
        new MeshError('NOT_FOUND', `service '${options.service}' has ${which}`, { delivery: 'refused' }),
      );
      return;
    }
    stream.accept((accepted) => {
      const frames = this.framesOf(accepted, `the raw channel from ${peer.service} (${peer.address})`);
      const channel = startRawChannel(frames, onFault, stream.codec, !peer.plain);
      this.raw.add(channel, keyOf(peer));
      handlers.onChannel(channel, { name, peer, ...openingOf(headers), carrier: undefined });
    });
  }

  private serveCall(stream: IncomingStream, route: string): void {
    const { headers, peer } = stream;
    const handlers = this.deps.handlers();
    const single = headerOf(headers, HEADER.input) === 'value';
    // A stream of its own may outlive the packet channels of its caller: that is found by its id when it is called back.
    const origin = { peer, opening: openingOf(headers), channel: undefined };
    const opening = {
      route,
      single,
      metadata: readHeaderMetadata(headers),
      timeoutMs: readHeaderTimeoutMs(headers),
    };
    stream.accept((accepted) => {
      const frames = this.framesOf(accepted, `the call of '${route}' from ${peer.service} (${peer.address})`);
      const dispatch = (inbound: InboundCall): void => {
        if (handlers === undefined) inbound.fail(answersNoCalls(this.deps.options.service));
        else if (inbound.timeoutMs === 0) inbound.fail(tooLate());
        else handlers.onRequest(inbound, origin);
      };
      const call = new ServedStream(frames, opening, dispatch, stream.codec);
      this.calls.add(call, keyOf(peer));
      call.start();
    });
  }

  private framesOf(stream: Http2Stream, name: string): FrameStream {
    return new FrameStream(stream, this.deps.options.limits, name);
  }
}

/** Names in headers are percent-encoded; one that is not well-formed is taken as it stands. */
function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
