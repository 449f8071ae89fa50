// A TCP proxy before a Kafka broker that breaks what goes through it: which request or answer, a seed decides.

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Draws } from '#shards';
import { freePorts } from '../../ops/kafka/config.ts';
import { startBroker, type TestBroker } from '../broker.ts';

export interface ProxyCounts {
  connections: number;
  /** Cut in the middle of a large request, so that the broker never has all of it. */
  requests: number;
  /** A large request arrives, and its answer never comes. */
  acknowledgements: number;
  /** Cut in the middle of a large answer. */
  answers: number;
  /** Connections that `cutAll` ended. */
  cut: number;
  stalls: number;
}

/** What is broken, each kind by draws of its own, so that one does not depend on when another came. */
export const KINDS = ['requests', 'acknowledgements', 'answers'] as const;
export type Kind = (typeof KINDS)[number];

export interface Breaking {
  readonly seed: number;
  /** One of so many large requests or answers, on average. */
  readonly oneIn: number;
  /** How many of each kind. */
  readonly limits: Readonly<Record<Kind, number>>;
}

/** Above it a request carries a record and not only questions, an answer brings one. */
const LARGE_BYTES = 400;

/** Kafka's frames in a byte stream: INT32 length, then so many bytes. Tells of each where it begins. */
class Frames {
  readonly #head = Buffer.alloc(4);
  #headBytes = 0;
  #left = 0;

  /** Lengths of the frames whose heads end in these bytes. */
  begun(bytes: Buffer): number[] {
    const lengths: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      this.#head[this.#headBytes++] = bytes[at++] as number;
      if (this.#headBytes < 4) continue;
      this.#headBytes = 0;
      this.#left = this.#head.readInt32BE();
      lengths.push(this.#left);
    }
    return lengths;
  }
}

export class FaultyProxy {
  readonly counts: ProxyCounts = { connections: 0, requests: 0, acknowledgements: 0, answers: 0, cut: 0, stalls: 0 };
  readonly #target: number;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #armed: Record<Kind, { readonly draws: Draws; readonly oneIn: number; left: number }> | null = null;
  #broken = 0;
  #stalled = false;

  private constructor(target: number) {
    this.#target = target;
    this.#server = net.createServer((client) => this.#forward(client));
  }

  /** `target`: the port of the listener that tells its clients of this proxy's own (`proxied` of `startBroker`). */
  static async before(target: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** For clients that are to suffer. */
  get url(): string {
    return `kafka://127.0.0.1:${this.port}`;
  }

  /** Requests, acknowledgements and answers that were broken since `arm`. */
  get broken(): number {
    return this.#broken;
  }

  /** Begins to break large requests and answers; the count begins anew. */
  arm({ seed, oneIn, limits }: Breaking): void {
    const of = (kind: Kind) => ({ draws: new Draws({ seed, purpose: `proxy ${kind}` }), oneIn, left: limits[kind] });
    this.#armed = { requests: of('requests'), acknowledgements: of('acknowledgements'), answers: of('answers') };
    this.#broken = 0;
  }

  /** Ends every connection now. */
  cutAll(): void {
    this.counts.cut += this.#sockets.size / 2;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Forwards nothing for so long, with all connections open. */
  async stall(ms: number): Promise<void> {
    this.counts.stalls++;
    this.#stalled = true;
    for (const socket of this.#sockets) socket.pause();
    await sleep(ms);
    this.#stalled = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Whether this one is to be broken, which is then counted. */
  #breaks(kind: Kind): boolean {
    const armed = this.#armed?.[kind];
    if (!armed || armed.left === 0 || armed.draws.below(armed.oneIn) !== 0) return false;
    armed.left--;
    this.#broken++;
    this.counts[kind]++;
    return true;
  }

  #forward(client: net.Socket): void {
    this.counts.connections++;
    const broker = net.connect(this.#target, '127.0.0.1');
    for (const [socket, peer] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => peer.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        peer.destroy();
      });
      socket.on('drain', () => {
        if (!this.#stalled) peer.resume();
      });
      if (this.#stalled) socket.pause();
    }
    const cut = (): void => {
      client.destroy();
      broker.destroy();
    };
    const pass = (from: net.Socket, to: net.Socket, bytes: Buffer): void => {
      if (!to.write(bytes)) from.pause();
    };
    // A broker answers a connection's requests in their order. Entry: what happens to the answer.
    const awaited: ('pass' | 'drop')[] = [];
    const [requests, answers] = [new Frames(), new Frames()];
    client.on('data', (bytes) => {
      for (const length of requests.begun(bytes)) {
        const large = length > LARGE_BYTES;
        if (large && this.#breaks('requests')) {
          broker.write(bytes.subarray(0, bytes.length / 2), cut);
          return;
        }
        awaited.push(large && this.#breaks('acknowledgements') ? 'drop' : 'pass');
      }
      pass(client, broker, bytes);
    });
    broker.on('data', (bytes) => {
      for (const length of answers.begun(bytes)) {
        if (awaited.shift() === 'drop') {
          cut();
          return;
        }
        if (length > LARGE_BYTES && this.#breaks('answers')) {
          client.write(bytes.subarray(0, bytes.length / 2), cut);
          return;
        }
      }
      pass(broker, client, bytes);
    });
  }
}

/** A broker with a proxy before it: who connects to `proxy.url` stays behind it, who connects to the broker does not. */
export async function startProxiedBroker(): Promise<{ broker: TestBroker; proxy: FaultyProxy }> {
  const [port = 0] = await freePorts(1);
  const proxy = await FaultyProxy.before(port);
  return { proxy, broker: await startBroker({ proxied: { port, advertised: proxy.port } }) };
}
