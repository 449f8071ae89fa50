// Writes a USTAR archive member by member and knows where each one's bytes begin.
//
//   archive := member* zero-block zero-block                       blocks of 512 bytes
//   member  := header-block payload zeros-to-the-next-block        header: mode 0644, uid = gid = mtime = 0, no names
//
// Equal members give equal bytes. Names must be ASCII of at most 100 bytes: longer ones would need a PAX block.

import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import type { Pack } from 'tar-stream';
import { DurableFile } from './durable.ts';

export const BLOCK = 512;

/** Where a member's payload lies in its archive, bytes. */
export interface MemberPlace {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

const EPOCH = new Date(0);
/** Written at once: fewer calls, and each one short. */
const WRITE_BYTES = 256 * 1024;

export class TarWriter {
  readonly #file: DurableFile;
  readonly #pack: Pack;
  readonly #drained: Promise<{ bytes: number; sha256: string }>;
  #end = 0;

  private constructor(file: DurableFile, pack: Pack) {
    this.#file = file;
    this.#pack = pack;
    this.#drained = drain(pack, file.handle.fd);
    // A write error also reaches whoever waits in `append` or `finish`; here it only must not count as unhandled.
    this.#drained.catch(() => {});
  }

  static async create(path: string): Promise<TarWriter> {
    const { pack } = await import('tar-stream');
    return new TarWriter(await DurableFile.create(path), pack());
  }

  /** Appends a member and resolves when the archive can take the next: memory holds at most one member and 256 KiB. */
  async append(name: string, data: Uint8Array): Promise<MemberPlace> {
    if (!/^[\x21-\x7e]{1,100}$/.test(name)) throw new RangeError(`'${name}' is no USTAR name of 1 to 100 ASCII bytes`);
    const payload = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const header = { name, size: payload.length, mode: 0o644, uid: 0, gid: 0, mtime: EPOCH, type: 'file' as const };
    const written = new Promise<void>((resolve, reject) => {
      this.#pack.entry(header, payload, (error) => (error ? reject(error) : resolve()));
    });
    // The archive's own error (a full disk) says more than the member's ("destroyed").
    await written.catch(async (error: unknown) => {
      await this.#drained;
      throw error;
    });
    const place = { name, offset: this.#end + BLOCK, bytes: payload.length };
    this.#end = place.offset + Math.ceil(payload.length / BLOCK) * BLOCK;
    return place;
  }

  /** Ends the archive and makes it durable under its name. */
  async finish(): Promise<{ bytes: number; sha256: string }> {
    this.#pack.finalize();
    const result = await this.#drained;
    await this.#file.keep();
    return result;
  }

  /** Gives up: nothing stays of it. */
  async abort(): Promise<void> {
    this.#pack.destroy();
    await this.#drained.catch(() => {});
    await this.#file.drop();
  }
}

async function drain(pack: Pack, fd: number): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(WRITE_BYTES);
  let bytes = 0;
  let held = 0;
  // Synchronous, because libuv's few threads are busy decoding and a queued write would wait behind them.
  const write = (): void => {
    const data = buffer.subarray(0, held);
    hash.update(data);
    for (let done = 0; done < held; ) done += writeSync(fd, data, done);
    bytes += held;
    held = 0;
  };
  for await (const chunk of pack as AsyncIterable<Buffer>)
    for (let taken = 0; taken < chunk.length; ) {
      const copied = chunk.copy(buffer, held, taken);
      taken += copied;
      held += copied;
      if (held === WRITE_BYTES) write();
    }
  write();
  return { bytes, sha256: hash.digest('hex') };
}
