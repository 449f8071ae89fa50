// A connection to a broker, plain or with TLS.

import net, { type OnReadOpts } from 'node:net';
import { connect, type SecureContext } from 'node:tls';
import { ANSWERED_WITH_TLS } from './kafka-refusals.ts';

/** How a TLS alert or handshake record begins: 0x15 or 0x16 and TLS' major version. An answer of that size is none. */
const isTls = (bytes: Buffer): boolean => (bytes[0] === 0x15 || bytes[0] === 0x16) && bytes[1] === 0x03;

export interface SocketOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: SecureContext | null;
  /** Takes what comes; it hands it on as 'data'. */
  readonly onread: OnReadOpts;
  readonly onConnect: () => void;
}

/** `onConnect` is called when requests can be sent: after the handshake and the check of the certificate's name. */
export function connectSocket({ host, port, tls, onread, onConnect }: SocketOptions): net.Socket {
  const socket = tls === null ? connectPlain({ host, port, onread }) : connectTls({ host, port, onread }, tls);
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  return socket.once(tls === null ? 'connect' : 'secureConnect', onConnect);
}

type Address = Pick<SocketOptions, 'host' | 'port' | 'onread'>;

function connectPlain(address: Address): net.Socket {
  const socket = net.connect(address);
  // kafkajs would wait for the rest of an answer of 350 MB, and then only know that the connection closed.
  socket.once('data', (bytes) => {
    if (!isTls(bytes)) return;
    socket.destroy(Object.assign(new Error('the answer is TLS'), { code: ANSWERED_WITH_TLS }));
  });
  return socket;
}

/** An address has no server name (SNI); its certificate is checked for the address all the same. */
function connectTls(address: Address, secureContext: SecureContext): net.Socket {
  const { host } = address;
  return connect({ ...address, secureContext, ...(net.isIP(host) === 0 ? { servername: host } : {}) });
}
