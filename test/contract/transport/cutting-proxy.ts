// A TCP proxy before a Kafka broker that drops the answers of some produce requests and cuts their connections.

import { once } from 'node:events';
import net from 'node:net';

export interface CuttingProxy {
  readonly url: string;
  readonly cuts: number;
  close(): Promise<void>;
}

/** A request of at least so many bytes is a produce request here. */
const PRODUCE_BYTES = 20_000;

/**
 * Cuts every `every`-th acknowledgement until `limit` cuts. The broker's address in its metadata answers is replaced by
 * ours, which is as long: else clients would go on without us.
 */
export async function cuttingProxy(broker: string, every: number, limit: number): Promise<CuttingProxy> {
  const target = Number(new URL(broker).port);
  let acknowledgements = 0;
  let cuts = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect(target, '127.0.0.1');
    let sent = 0;
    for (const [socket, peer] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => peer.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        peer.destroy();
      });
    }
    client.on('data', (bytes) => {
      sent += bytes.length;
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      const produced = sent > PRODUCE_BYTES;
      sent = 0;
      if (produced && ++acknowledgements % every === 0 && cuts < limit) {
        cuts++;
        client.destroy();
        upstream.destroy();
        return;
      }
      client.write(advertise(bytes, target, ours));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const ours = (server.address() as net.AddressInfo).port;
  return {
    url: `kafka://127.0.0.1:${ours}`,
    get cuts() {
      return cuts;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** In a metadata answer a broker is host STRING, port INT32. */
function advertise(bytes: Buffer, from: number, to: number): Buffer {
  const address = (port: number) => {
    const encoded = Buffer.from('\0\x09127.0.0.1....', 'latin1');
    encoded.writeInt32BE(port, 11);
    return encoded;
  };
  const found = bytes.indexOf(address(from));
  if (found >= 0) address(to).copy(bytes, found);
  return bytes;
}
