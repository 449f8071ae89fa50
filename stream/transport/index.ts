// Opens the log that a URL names: `log:DIR` or `kafka://host:port,…`.

import { Fault, shellWord } from '#shards';
import type { Transport, TransportOptions } from './transport.ts';

export type {
  Extent,
  LogRecord,
  Member,
  Membership,
  Reader,
  ReaderOptions,
  TopicSpec,
  Transport,
  TransportOptions,
} from './transport.ts';

/**
 * @throws Fault `bad-transport` for another URL, `not-a-log` or `log-unusable` for a folder, `transport-unreachable`
 * when no broker answers within about 10 s, `kafka-…` when one does not let us in.
 */
export async function openTransport(url: string, options: TransportOptions = {}): Promise<Transport> {
  if (url.startsWith('log:') && url.length > 'log:'.length) {
    const { openLog } = await import('./log.ts');
    return openLog(url.slice('log:'.length), options);
  }
  if (url.startsWith('kafka://')) {
    const { openKafka } = await import('./kafka.ts');
    return openKafka(url, options);
  }
  throw new Fault({
    code: 'bad-transport',
    received: `'${withoutSecrets(url)}'`,
    expected: 'log:DIR or kafka://HOST:PORT[,HOST:PORT…]',
    remedy: 'correct --transport',
    exit: 2,
  });
}

/** `--transport URL` as a person can paste it into a shell. */
export function transportArgument({ url }: Pick<Transport, 'url'>): string {
  return `--transport ${shellWord(url)}`;
}

/** A URL as it may be shown: what stands before an @ or after a ? may be a password. */
function withoutSecrets(url: string): string {
  return url.replace(/\/\/.*@/, '//…@').replace(/\?.*/, '?…');
}
