/** A network in the memory of this process: real HTTP/2 over connections that have no socket, no port, and faults on demand. */
import type { ServerHttp2Session } from 'node:http2';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { MeshError } from '../protocol/mesh-error.js';
import { addressOf, type Binding, type MeshHttpServer, type Network } from '../transport/network.js';
import type { MeshTlsOptions } from '../transport/tls-options.js';
import { LinkRules, names, type Party } from './link-rules.js';
import { Wire } from './wire.js';

interface Listening {
  readonly party: Party;
  readonly server: MeshHttpServer;
  readonly wires: Set<Wire>;
}

interface Connection {
  readonly wire: Wire;
  readonly from: Party;
  readonly to: Party;
}

/** Ports mean little where every node has a host of its own. */
const FIRST_PORT = 1;

/** The longest delay of a timer of Node. */
const NEVER_MS = 2 ** 31 - 1;

export class MemoryNetwork {
  readonly rules = new LinkRules();
  private readonly parties = new Map<string, Party>();
  private readonly listening = new Map<string, Listening>();
  private readonly connections = new Set<Connection>();
  private readonly addresses = new WeakMap<ServerHttp2Session, string>();
  /** Nodes that have crashed. */
  private readonly dead = new Set<Party>();
  private accepting: Party | undefined;
  private holder: NodeJS.Timeout | undefined;

  /** The network as one node has it. */
  of(party: Party): Network {
    this.parties.set(party.host, party);
    return {
      connect: (host, port, tls) => this.connect(party, host, port, tls),
      listen: async (server, _host, port) => this.listen(party, server, port),
      dialledFrom: (session) => this.addresses.get(session) ?? 'unknown',
    };
  }

  /** The rules have changed. */
  refresh(): void {
    for (const { wire } of this.connections) wire.refresh();
  }

  /** Breaks the connections that were dialled from one to the other; resolves when both sides know. */
  cut(dialler: string, listener: string): Promise<void> {
    return this.breakAll(({ from, to }) => names(dialler, from) && names(listener, to));
  }

  /** The node is gone at once, without a word to anybody but what the operating system says for it. */
  crash(party: Party): Promise<void> {
    this.dead.add(party);
    return this.breakAll(({ from, to }) => from === party || to === party);
  }

  /** Breaks what is left. */
  close(): Promise<void> {
    return this.breakAll(() => true);
  }

  private async breakAll(isMeant: (connection: Connection) => boolean): Promise<void> {
    const meant = [...this.connections].filter(isMeant);
    if (meant.length === 0) return;
    await Promise.all(meant.map(({ wire }) => wire.cut(reset())));
    // The sessions are told in the turn after.
    await setImmediate();
  }

  private connect(from: Party, host: string, port: number, tls: MeshTlsOptions | undefined): Duplex {
    if (tls !== undefined) throw noTls();
    const address = addressOf(host, port);
    const to = this.parties.get(host);
    if (to === undefined) return broken(failure('ENOTFOUND', `getaddrinfo ENOTFOUND ${host}`));
    if (this.dead.has(from)) return broken(failure('ENETUNREACH', `connect ENETUNREACH ${address}`));
    const faults = {
      forth: () => this.rules.between(from, to),
      back: () => this.rules.between(to, from),
    };
    const wire: Wire = new Wire(
      faults,
      () => this.arrive(connection, address),
      () => this.remove(connection),
    );
    const connection: Connection = { wire, from, to };
    this.connections.add(connection);
    this.hold();
    return wire.near;
  }

  private arrive({ wire, from, to }: Connection, address: string): void {
    const listening = this.listening.get(address);
    if (listening === undefined || this.dead.has(to) || this.rules.between(from, to).refused) {
      void wire.cut(failure('ECONNREFUSED', `connect ECONNREFUSED ${address}`));
      return;
    }
    const { server, wires } = listening;
    if (wires.size >= server.maxConnections) {
      server.emit('drop', { remoteAddress: from.host });
      void wire.cut(reset());
      return;
    }
    wires.add(wire);
    wire.far.once('close', () => wires.delete(wire));
    wire.accepted = true;
    this.accepting = from;
    server.emit('connection', wire.far);
    this.accepting = undefined;
  }

  private listen(party: Party, server: MeshHttpServer, wanted: number): Binding {
    if ('setSecureContext' in server) throw noTls();
    const port = wanted === 0 ? FIRST_PORT : wanted;
    const address = addressOf(party.host, port);
    if (this.listening.has(address)) throw failure('EADDRINUSE', `listen EADDRINUSE ${address}`);
    const listening: Listening = { party, server, wires: new Set() };
    this.listening.set(address, listening);
    // node:http2 tells of the session within the event `connection`.
    server.prependListener('session', (session: ServerHttp2Session) => {
      if (this.accepting !== undefined) this.addresses.set(session, addressOf(this.accepting.host, 0));
    });
    this.hold();
    return {
      port,
      stop: () => {
        if (this.listening.get(address) === listening) this.listening.delete(address);
        this.hold();
      },
    };
  }

  private remove(connection: Connection): void {
    this.connections.delete(connection);
    this.hold();
  }

  /** As sockets do, what is open keeps the process alive. */
  private hold(): void {
    const open = this.listening.size > 0 || this.connections.size > 0;
    if (open) this.holder ??= setInterval(ignore, NEVER_MS);
    else {
      clearInterval(this.holder);
      this.holder = undefined;
    }
  }
}

/** A connection that fails before anything has passed. */
function broken(error: Error): Duplex {
  const end = new Duplex({ read: ignore, write: (_bytes, _encoding, done) => done() });
  process.nextTick(() => end.destroy(error));
  return end;
}

function noTls(): MeshError {
  return new MeshError(
    'FAILED_PRECONDITION',
    'the test mesh has no TLS, since nothing leaves the process: leave out the option `tls`, or override it by `{ tls: undefined }`',
    { delivery: 'not-sent' },
  );
}

function reset(): Error {
  return failure('ECONNRESET', 'read ECONNRESET');
}

/** An error as Node makes them. */
function failure(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code });
}

function ignore(): void {
  // Nothing to do.
}
