// Walks the members of a tar that others wrote, by its headers alone: payloads are skipped by offset, never read.
//
//   archive := member* zero-block zeros       member := extension* header payload zeros-to-the-next-block
//   extension := header ('x' | 'g' | 'L' | 'K') payload              PAX, GNU long names; blocks of 512 bytes
//
// `tar` decodes the blocks (USTAR, GNU, base-256 sizes, PAX records). tar-stream, which writes our shards, cannot: its
// only door is a stream that must be fed every payload byte, 150 GB for ImageNet.

import { closeSync, fstatSync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';
import { Fault } from '../errors.ts';
import { readAtSync } from '../read-at.ts';
import { BLOCK } from '../tar.ts';
import { unreadable } from './folder-entries.ts';

export interface TarMember {
  /** Without a leading './' or '/'. */
  readonly name: string;
  /** Of its header and of its payload, from the start of the file. */
  readonly header: number;
  readonly offset: number;
  readonly bytes: number;
}

/** A part of the file, for a tar inside a tar. */
export type TarRange = Pick<TarMember, 'offset' | 'bytes'>;

/** Read at once: the headers of small members next to each other, and little of a large payload. */
const WINDOW_BYTES = 4096;
/** PAX records and long names: a path has at most 4096 bytes on Linux. */
const MAX_EXTENSION_BYTES = 1 << 20;
/** Zeros after the end: writers fill up to their record size, 10 KiB by default. More is a download with holes. */
const MAX_TAIL_BYTES = 1 << 20;
/** Headers between two turns of the event loop: signals are heard within some 50 ms. */
const HEADERS_PER_TURN = 4096;

export class TarFile {
  readonly path: string;
  readonly #fd: number;
  readonly #bytes: number;
  readonly #window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  #windowStart = 0;
  #windowBytes = 0;

  /** @throws Fault `source-unreadable` */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, 'r');
    } catch (cause) {
      throw unreadable(path, cause);
    }
    this.#bytes = fstatSync(this.#fd).size;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /**
   * The regular files, in order; folders are left out. Synchronous reads: a queue of small ones would cost more.
   * @throws Fault `tar-truncated`, `tar-damaged`, `tar-unsupported`, `source-unreadable`
   */
  async *members(range: TarRange = { offset: 0, bytes: this.#bytes }): AsyncGenerator<TarMember> {
    const end = range.offset + range.bytes;
    let at = range.offset;
    let pax: Pax | undefined;
    for (let headers = 1; ; headers++) {
      if (headers % HEADERS_PER_TURN === 0) await setImmediate();
      const header = this.#header(at, end, pax);
      if (header.nullBlock) {
        if (pax) throw this.#damaged(at, 'its end where a member should follow');
        this.#checkTail(at + BLOCK, end);
        return;
      }
      const offset = at + BLOCK;
      const bytes = header.size;
      if (bytes === undefined || !Number.isSafeInteger(bytes)) throw this.#damaged(at, 'a header without a size');
      if (offset + bytes > end)
        throw this.#truncated(at, `a member of ${bytes} bytes where ${Math.max(0, end - offset)} are left`);
      const next = offset + Math.ceil(bytes / BLOCK) * BLOCK;
      if (EXTENSIONS.has(header.type)) {
        if (bytes > MAX_EXTENSION_BYTES) throw this.#damaged(at, `an extended header of ${bytes} bytes`);
        pax = extended(header.type, this.#bytesAt(offset, bytes).toString('utf8'), pax);
      } else {
        // A PAX path is whole, but Header puts the USTAR prefix before it.
        const name = (pax?.path ?? header.path ?? '').replace(/^(?:\.?\/)+/, '');
        if (name.length > MAX_NAME) throw this.#damaged(at, `a name of ${name.length} characters`);
        if (FILES.has(header.type)) yield { name, header: at, offset, bytes };
        else if (!SKIPPED.has(header.type)) throw this.#unsupported(at, name, header.type);
        pax = undefined;
      }
      at = next;
    }
  }

  /** A copy of a member's payload; the caller knows that it is small. */
  read({ offset, bytes }: TarRange): Buffer {
    return Buffer.from(this.#bytesAt(offset, bytes));
  }

  #header(at: number, end: number, pax: Pax | undefined): Header {
    if (at + BLOCK > end) throw this.#truncated(at, 'no end-of-archive block');
    const block = this.#bytesAt(at, BLOCK);
    let header: Header;
    try {
      header = new Header(block, 0, pax);
    } catch (cause) {
      throw this.#damaged(at, `a header that cannot be read (${(cause as Error).message})`);
    }
    if (header.nullBlock || header.cksumValid) return header;
    const gzip = at === 0 && block[0] === 0x1f && block[1] === 0x8b;
    throw this.#damaged(at, gzip ? 'gzip: unpack that layer' : 'no header, its checksum is wrong');
  }

  #checkTail(from: number, end: number): void {
    if (end - from > MAX_TAIL_BYTES) throw this.#damaged(from, `${end - from} bytes after the end of the archive`);
    for (let at = from; at < end; at += WINDOW_BYTES)
      if (this.#bytesAt(at, Math.min(WINDOW_BYTES, end - at)).some((byte) => byte !== 0))
        throw this.#damaged(at, 'more data after the end of the archive');
  }

  /** Valid until the next call. */
  #bytesAt(at: number, bytes: number): Buffer {
    const start = at - this.#windowStart;
    if (start >= 0 && start + bytes <= this.#windowBytes) return this.#window.subarray(start, start + bytes);
    if (bytes > WINDOW_BYTES) {
      const whole = Buffer.allocUnsafeSlow(bytes);
      if (this.#fill(whole, at) < bytes) throw this.#truncated(at, 'the end of the file');
      return whole;
    }
    this.#windowBytes = this.#fill(this.#window, at);
    this.#windowStart = at;
    if (this.#windowBytes < bytes) throw this.#truncated(at, 'the end of the file');
    return this.#window.subarray(0, bytes);
  }

  #fill(target: Buffer, at: number): number {
    try {
      return readAtSync(this.#fd, target, at);
    } catch (cause) {
      throw unreadable(this.path, cause);
    }
  }

  #truncated(at: number, received: string): Fault {
    return this.#fault('tar-truncated', at, received, 'a whole tar, closed by a block of zeros', 'fetch it again');
  }

  #damaged(at: number, received: string): Fault {
    return this.#fault('tar-damaged', at, received, 'a tar', 'fetch it again, or write it anew with tar');
  }

  #unsupported(at: number, name: string, type: string): Fault {
    return this.#fault(
      'tar-unsupported',
      at,
      `${name} of type ${type}`,
      'regular files and folders only',
      'write the tar without links and sparse files (GNU tar: --dereference --hard-dereference)',
    );
  }

  #fault(code: string, at: number, received: string, expected: string, remedy: string): Fault {
    return new Fault({ code, received: `${this.path} at byte ${at}: ${received}`, expected, remedy });
  }
}

/** What holds for the next member, an extension's payload added; a PAX path goes before a GNU one. */
function extended(type: string, payload: string, pax: Pax | undefined): Pax | undefined {
  if (type === 'ExtendedHeader') return Pax.parse(payload, pax);
  if (type !== 'NextFileHasLongPath') return pax;
  return new Pax({ ...pax, path: pax?.path ?? payload.replace(/\0.*$/s, '') });
}

/** No system has longer paths. */
const MAX_NAME = 4096;
const EXTENSIONS: ReadonlySet<string> = new Set([
  'ExtendedHeader',
  'GlobalExtendedHeader',
  'NextFileHasLongPath',
  'NextFileHasLongLinkpath',
]);
const FILES: ReadonlySet<string> = new Set(['File', 'OldFile', 'ContiguousFile']);
/** The volume's label is metadata of the archive. */
const SKIPPED: ReadonlySet<string> = new Set(['Directory', 'TapeVolumeHeader']);
